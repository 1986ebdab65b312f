#include "base/mem.h"
#include "mine_int.h"
#include <stdlib.h>
#include <string.h>

enum trawl_status mine_teacher_begin(struct mine_teacher *t, const struct mine_set *set, const char *name)
{
    t->set = set;
    t->name = mem_text(name, strlen(name));
    return t->name ? TRAWL_OK : mem_status();
}

void mine_teacher_close(struct mine_teacher *t)
{
    if (!t)
        return;
    char *name = t->name;
    t->close(t);
    free(name);
}

const char *mine_teacher_name(const struct mine_teacher *t)
{
    return t->name;
}

enum trawl_status mine_teacher_score(struct mine_teacher *t, float *out, size_t query, const uint32_t *docs, size_t n)
{
    return t->score(t, out, query, docs, n);
}
