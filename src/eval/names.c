/* Names of measures, trec_eval's and others', to measures. */
#include "base/mem.h"
#include "data/number.h"
#include "eval_int.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Other names; with a cutoff ("nDCG@10") the second family is meant. */
static const struct {
    const char *alias, *plain, *cut;
} aliases[] = {{"nDCG", "ndcg", "ndcg_cut"},
               {"AP", "map", "map_cut"},
               {"MAP", "map", "map_cut"},
               {"RR", "recip_rank", "recip_rank_cut"},
               {"MRR", "recip_rank", "recip_rank_cut"},
               {"recip_rank", "recip_rank", "recip_rank_cut"},
               {"P", NULL, "P"},
               {"Precision", "set_P", "P"},
               {"R", NULL, "recall"},
               {"Recall", "set_recall", "recall"},
               {"R_cap", NULL, "relative_P"},
               {"Success", NULL, "success"},
               {"Hit", NULL, "success"},
               {"HitRate", NULL, "success"},
               {"Judged", NULL, "judged"},
               {"IPrec", NULL, "iprec_at_recall"},
               {"Bpref", "bpref", NULL},
               {"infAP", "infAP", NULL},
               {"Rprec", "Rprec", "Rprec_mult"},
               {"SetP", "set_P", NULL},
               {"SetR", "set_recall", NULL},
               {"SetAP", "set_map", NULL},
               {"SetF", "set_F", NULL},
               {"NumQ", "num_q", NULL},
               {"NumRet", "num_ret", NULL},
               {"NumRel", "num_rel", NULL},
               {"NumRelRet", "num_rel_ret", NULL}};

const char *measure_family_name(size_t i, const char **help)
{
    if (i >= n_measure_families)
        return NULL;
    *help = measure_families[i].help;
    return measure_families[i].name;
}

static const struct measure_family *find_family(const char *name, size_t n)
{
    for (size_t i = 0; i < n_measure_families; i++)
        if (strlen(measure_families[i].name) == n && memcmp(measure_families[i].name, name, n) == 0)
            return &measure_families[i];
    return NULL;
}

/* ---- names to measures ---- */

static enum trawl_status add(struct measures *m, const struct measure_family *family, double param, const char *name,
                             size_t n)
{
    struct measure one = {.family = family, .param = param};
    if (n) {
        snprintf(one.name, sizeof one.name, "%.*s", (int)n, name);
    } else if (family->parameter == PARAMETER_CUTOFF) {
        snprintf(one.name, sizeof one.name, "%s_%.0f", family->name, param);
    } else if (family->parameter == PARAMETER_FRACTION) {
        snprintf(one.name, sizeof one.name, "%s_%.2f", family->name, param);
    } else {
        snprintf(one.name, sizeof one.name, "%s", family->name);
    }
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->items[i].name, one.name) == 0)
            return TRAWL_OK;
    TRY(mem_grow((void **)&m->items, &m->cap, m->n + 1, sizeof *m->items));
    m->items[m->n++] = one;
    return TRAWL_OK;
}

static enum trawl_status add_presets(struct measures *m, const struct measure_family *family)
{
    if (family->parameter == PARAMETER_NONE)
        return add(m, family, 0, NULL, 0);
    for (size_t i = 0; i < family->n_presets; i++)
        TRY(add(m, family, family->presets[i], NULL, 0));
    return TRAWL_OK;
}

static bool good_param(const struct measure_family *family, double *param, const char *text, size_t n)
{
    if (n > 32 || !number_parse(param, text, n) || !isfinite(*param))
        return false;
    if (family->parameter == PARAMETER_CUTOFF)
        return *param >= 1 && *param == floor(*param) && *param <= 1e9;
    return family->parameter == PARAMETER_FRACTION && *param >= 0 && *param <= 100;
}

/* "ndcg_cut_10", "ndcg_cut.10": the longest family name that leaves a number. */
static const struct measure_family *split_param(double *param, const char *name, size_t n)
{
    for (size_t at = n; at-- > 1;)
        if (name[at] == '_' || name[at] == '.') {
            const struct measure_family *family = find_family(name, at);
            if (family && good_param(family, param, name + at + 1, n - at - 1))
                return family;
        }
    return NULL;
}

/* "nDCG@10" and the like, capitals aside; *has_param tells whether there was a cutoff. */
static const struct measure_family *find_alias(double *param, bool *has_param, const char *name, size_t n)
{
    const char *at = memchr(name, '@', n);
    size_t m = at ? (size_t)(at - name) : n;
    *has_param = at != NULL;
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++) {
        const char *target = at ? aliases[i].cut : aliases[i].plain;
        if (strlen(aliases[i].alias) != m || strncasecmp(aliases[i].alias, name, m) != 0 || !target)
            continue;
        const struct measure_family *family = find_family(target, strlen(target));
        return !at || good_param(family, param, at + 1, n - m - 1) ? family : NULL;
    }
    return NULL;
}

static enum trawl_status add_set(struct measures *m, bool all)
{
    for (size_t i = 0; i < n_measure_families; i++)
        if (all || measure_families[i].official)
            TRY(add_presets(m, &measure_families[i]));
    return TRAWL_OK;
}

/* `last` is the family of the name before, so that "ndcg_cut.5,10" works as in trec_eval. */
static enum trawl_status take_name(struct measures *m, const struct measure_family **last, const char *name, size_t n)
{
    double param = 0;
    bool has_param;
    if ((n == 3 && memcmp(name, "all", 3) == 0) || (n == 8 && memcmp(name, "official", 8) == 0))
        return add_set(m, n == 3);
    if (*last && good_param(*last, &param, name, n))
        return add(m, *last, param, NULL, 0);
    const struct measure_family *family = find_family(name, n);
    *last = NULL;
    if (family)
        return add_presets(m, family);
    family = split_param(&param, name, n);
    *last = family;
    if (family)
        return add(m, family, param, NULL, 0);
    family = find_alias(&param, &has_param, name, n);
    if (family)
        return add(m, family, param, name, n < 40 ? n : 40);
    return fail(TRAWL_USAGE,
                "unknown measure '%.*s' (such as nDCG@10, R@100, RR@10, AP, P@5, map, ndcg_cut_10, recall_100; "
                "'official', 'all'; 'trawl eval --list-measures' tells all)",
                (int)(n < 60 ? n : 60), name);
}

enum trawl_status measures_parse(struct measures *m, const char *list)
{
    const struct measure_family *last = NULL;
    while (*list) {
        size_t n = strcspn(list, ", \t\n");
        if (n)
            TRY(take_name(m, &last, list, n));
        list += n + (list[n] != '\0');
    }
    return m->n ? TRAWL_OK : fail(TRAWL_USAGE, "no measures are named");
}

void measures_release(struct measures *m)
{
    if (!m)
        return;
    free(m->items);
    *m = (struct measures){0};
}

bool measure_is_count(const struct measure *m)
{
    return m->family->aggregate == AGGREGATE_SUM || m->family->aggregate == AGGREGATE_QUERIES;
}

bool measure_has_queries(const struct measure *m)
{
    return m->family->score != NULL;
}
