/*
 * The instruction set in use, chosen once per process: the best that the processor and the system support, or what
 * TRAWL_ISA says (ref, avx2, avx512-base, avx512-vnni, avx512-bf16, avx512). A name that the machine cannot run, or
 * that is unknown, leaves the best one that it can run below it in place; a warning says so, and isa_check.
 *
 * Kernels: one file per level, compiled with the flags of `isa_flags` in src/math/meson.build; a table of functions is
 * picked with isa_level() and isa_has(). The plain C twin (level ISA_REF) is the specification.
 */
#ifndef MATH_ISA_H
#define MATH_ISA_H
#include "base/status.h"
#include <stdbool.h>

enum isa {
    ISA_REF,    /* plain C */
    ISA_AVX2,   /* AVX2, FMA, F16C */
    ISA_AVX512, /* AVX-512 F, BW, DQ, VL */
};
enum isa_feature {
    ISA_VNNI = 1,     /* AVX-512 VNNI: vpdpbusd on 512 bits */
    ISA_BF16 = 2,     /* AVX-512 BF16: vdpbf16ps, vcvtne2ps2bf16 */
    ISA_AMX_INT8 = 4, /* tiles of int8, allowed to this process by the kernel */
    ISA_AMX_BF16 = 8,
};

enum isa isa_level(void);
bool isa_has(enum isa_feature feature);
/* Short name of what is in use, such as "avx512-vnni": at most 15 bytes. */
const char *isa_name(void);
/* USAGE when TRAWL_ISA is set to something unknown or beyond this machine; names what it accepts. */
MUST_USE enum trawl_status isa_check(void);
/*
 * For tests: from now on as if TRAWL_ISA had this value (NULL: as if it were unset). Not while other threads compute.
 * UNSUPPORTED, and nothing changes, when the machine cannot.
 */
MUST_USE enum trawl_status isa_select(const char *name);

#endif
