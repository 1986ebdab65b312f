/* The list of stages: the program's subcommands, the man pages and the completions follow it. */
#include "stages.h"
#include <string.h>

static const struct trawl_stage *const stages[] = {
    NULL, /* keeps the array from being empty */
};

const struct trawl_stage *const *trawl_stages(size_t *n_stages)
{
    *n_stages = sizeof stages / sizeof *stages - 1;
    return stages;
}

const struct trawl_stage *trawl_stage_find(const char *name)
{
    size_t n;
    const struct trawl_stage *const *all = trawl_stages(&n);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(all[i]->name, name))
            return all[i];
    return NULL;
}
