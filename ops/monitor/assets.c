#include "ops/monitor/assets.h"

/* The compiler takes no file as a string; the assembler does. */
#define ASSET(name, file)                                                             \
    __asm__(".section .rodata\n.global " #name "\n" #name ":\n.incbin \"" file "\"\n" \
            ".global " #name "_end\n" #name "_end:\n.byte 0\n.previous\n")

ASSET(asset_style, MONITOR_ASSETS "/style.css");
ASSET(asset_script, MONITOR_ASSETS "/page.js");
ASSET(asset_icon, MONITOR_ASSETS "/icon.svg");
