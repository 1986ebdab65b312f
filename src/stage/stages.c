#include "stages.h"
#include <string.h>

#define X(name) &stage_##name,
static const struct trawl_stage *const stages[] = {STAGE_LIST(X) NULL};
#undef X

const struct trawl_stage *const *trawl_stages(size_t *n_stages)
{
    *n_stages = sizeof stages / sizeof *stages - 1;
    return stages;
}

const struct trawl_stage *trawl_stage_find(const char *name)
{
    for (size_t i = 0; stages[i]; i++)
        if (!strcmp(stages[i]->name, name))
            return stages[i];
    return NULL;
}
