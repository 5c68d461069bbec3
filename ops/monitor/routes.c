/* routes.c - which page answers which path */
#include "ops/monitor/pages.h"

#include "common/scoped.h"
#include "ops/monitor/assets.h"

#include <microhttpd.h>
#include <string.h>

static const struct {
    const char *path;
    web_page *page;
} routes[] = {
    {"/", page_overview}, {"/overview", page_overview}, {"/desk", page_desk}, {"/find", page_find}, {"/dead-letters", page_dead_letters},
    {"/log", page_log},
};

static const struct {
    const char *path, *type, *from, *end;
} assets[] = {
    {"/style.css", "text/css", asset_style, asset_style_end},
    {"/page.js", "text/javascript", asset_script, asset_script_end},
    {"/icon.svg", "image/svg+xml", asset_icon, asset_icon_end},
};

void pages_answer(struct web_request *r)
{
    bool post = !strcmp(r->method, "POST");

    if (post && !strncmp(r->path, "/do/", 4)) {
        page_do(r, r->path + 4);
        return;
    }
    if (post) {
        page_trouble(r, MHD_HTTP_METHOD_NOT_ALLOWED, "this page is only looked at");
        return;
    }
    for (size_t i = 0; i < COUNT(routes); i++)
        if (!strcmp(r->path, routes[i].path)) {
            routes[i].page(r);
            return;
        }
    for (size_t i = 0; i < COUNT(assets); i++)
        if (!strcmp(r->path, assets[i].path)) {
            r->type = assets[i].type;
            r->lasting = true;
            text_add(r->out, assets[i].from, (size_t)(assets[i].end - assets[i].from));
            return;
        }
    if (!strncmp(r->path, "/dead-letters/", 14))
        page_dead_letter(r, r->path + 14);
    else
        page_trouble(r, MHD_HTTP_NOT_FOUND, "there is nothing here; the pages are named above");
}
