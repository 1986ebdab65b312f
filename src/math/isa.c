/* What the processor can do, asked once by cpuid, and what the user allows of it. */
#include "isa.h"
#include "base/log.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Each row is a promise about every row above it as well. */
static const struct isa_row {
    const char *name;
    enum isa level;
    unsigned features;
} rows[] = {
    {"ref", ISA_REF, 0},
    {"avx2", ISA_AVX2, 0},
    {"avx512-base", ISA_AVX512, 0},
    {"avx512-vnni", ISA_AVX512, ISA_VNNI},
    {"avx512-bf16", ISA_AVX512, ISA_VNNI | ISA_BF16},
    {"avx512", ISA_AVX512, ISA_VNNI | ISA_BF16 | ISA_AMX_INT8 | ISA_AMX_BF16},
};
enum { N_ROWS = sizeof rows / sizeof *rows };
static const char accepted[] = "ref, avx2, avx512-base, avx512-vnni, avx512-bf16, avx512";

static struct {
    enum isa level; /* of the machine */
    unsigned features;
    enum isa used_level;
    unsigned used_features;
    enum { ENV_GOOD, ENV_UNKNOWN, ENV_BEYOND } environment;
} state;
static pthread_once_t once = PTHREAD_ONCE_INIT;

#if defined(__x86_64__)
static uint64_t os_saves(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Linux gives a process the 8 KiB of tile state only when it asks. */
static bool tiles_allowed(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static bool bit(uint32_t word, unsigned i)
{
    return word >> i & 1;
}

static void detect(void)
{
    uint32_t a, b, c, d, a1 = 0, unused;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !bit(c, 27) || !bit(c, 28) || !bit(c, 12) || !bit(c, 29))
        return; /* no XSAVE by the system, AVX, FMA or F16C */
    uint64_t saved = os_saves();
    if ((saved & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !bit(b, 5))
        return;
    state.level = ISA_AVX2;
    if (a >= 1)
        __get_cpuid_count(7, 1, &a1, &unused, &unused, &unused);
    if ((saved & 0xe6) != 0xe6 || !bit(b, 16) || !bit(b, 17) || !bit(b, 30) || !bit(b, 31))
        return;
    state.level = ISA_AVX512;
    state.features |= bit(c, 11) ? ISA_VNNI : 0;
    state.features |= bit(a1, 5) ? ISA_BF16 : 0;
    if ((saved & 0x60000) == 0x60000 && bit(d, 24) && (bit(d, 22) || bit(d, 25)) && tiles_allowed())
        state.features |= (bit(d, 25) ? ISA_AMX_INT8 : 0) | (bit(d, 22) ? ISA_AMX_BF16 : 0);
}
#else
static void detect(void)
{
}
#endif

static const struct isa_row *find_row(const char *name)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

/* "avx512" takes what there is; the rows between name features that must be there. */
static bool within_machine(const struct isa_row *row)
{
    bool whatever = row == &rows[N_ROWS - 1];
    return row->level <= state.level && (whatever || (row->features & ~state.features) == 0);
}

static void use(const struct isa_row *row)
{
    state.used_level = row->level < state.level ? row->level : state.level;
    state.used_features = row->features & state.features;
}

static const char *used_name(void)
{
    if (state.used_level != ISA_AVX512)
        return state.used_level == ISA_AVX2 ? "avx2" : "ref";
    if (state.used_features & (ISA_AMX_INT8 | ISA_AMX_BF16))
        return "avx512-amx";
    if (state.used_features & ISA_BF16)
        return "avx512-bf16";
    return state.used_features & ISA_VNNI ? "avx512-vnni" : "avx512-base";
}

static void choose(void)
{
    detect();
    const char *name = getenv("TRAWL_ISA");
    const struct isa_row *row = name && *name ? find_row(name) : &rows[N_ROWS - 1];
    if (!row)
        state.environment = ENV_UNKNOWN;
    else if (name && *name && !within_machine(row))
        state.environment = ENV_BEYOND;
    use(row ? row : &rows[N_ROWS - 1]);
    if (state.environment == ENV_UNKNOWN)
        log_warn("TRAWL_ISA is '%s', which is none of %s: '%s' is used", name, accepted, used_name());
    else if (state.environment == ENV_BEYOND)
        log_warn("TRAWL_ISA is '%s', and this machine has no more than '%s'", name, used_name());
}

enum isa isa_level(void)
{
    pthread_once(&once, choose);
    return state.used_level;
}

bool isa_has(enum isa_feature feature)
{
    pthread_once(&once, choose);
    return state.used_features & (unsigned)feature;
}

const char *isa_name(void)
{
    pthread_once(&once, choose);
    return used_name();
}

enum trawl_status isa_check(void)
{
    pthread_once(&once, choose);
    if (state.environment == ENV_UNKNOWN)
        return fail(TRAWL_USAGE, "TRAWL_ISA is '%s': give one of %s", getenv("TRAWL_ISA"), accepted);
    if (state.environment == ENV_BEYOND)
        return fail(TRAWL_USAGE, "TRAWL_ISA is '%s': this machine has no more than '%s'", getenv("TRAWL_ISA"),
                    isa_name());
    return TRAWL_OK;
}

enum trawl_status isa_select(const char *name)
{
    pthread_once(&once, choose);
    const struct isa_row *row = name ? find_row(name) : &rows[N_ROWS - 1];
    if (!row)
        return fail(TRAWL_USAGE, "instruction set '%s' is unknown: give one of %s", name, accepted);
    if (name && !within_machine(row))
        return fail(TRAWL_UNSUPPORTED, "this machine cannot run instruction set '%s'", name);
    use(row);
    return TRAWL_OK;
}
