/* assets.h - style.css, page.js and icon.svg, as they lie in assets/, in the program itself (assets.c). */
#ifndef SHELFWIRE_MONITOR_ASSETS_H
#define SHELFWIRE_MONITOR_ASSETS_H

extern const char asset_style[], asset_style_end[];
extern const char asset_script[], asset_script_end[];
extern const char asset_icon[], asset_icon_end[];

#endif
