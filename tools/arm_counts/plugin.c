/*
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Counts what a 64-bit ARM program executes under qemu-aarch64 (user mode).
 *
 * This file is compiled against qemu's header qemu-plugin.h, which is GPL-2.0-or-later, and so it
 * is too. It is a separate tool: scripts/setup_arm builds it into a folder of its own, qemu loads
 * it, and the Python packages of this repository neither link nor import it. They read the lines
 * that it writes.
 *
 *   qemu-aarch64 -plugin libarm_counts.so,out=FILE,l1=32:4,l2=512:16,l3=2048:16 PROGRAM
 *
 * l1, l2, l3: KiB and ways of caches with lines of 64 bytes, least recently used line evicted.
 * The program marks a moment by syscall(5555, tag): the plugin writes the tag and everything
 * counted so far as one line of JSON. The caches are empty and idle until the first mark.
 *
 * Instructions are told apart by the encoding groups of the Arm Architecture Reference Manual for
 * A-profile (DDI 0487), section C4.1. Each has exactly one kind. Counters are shared by threads
 * without locks: a program with several gets approximate figures.
 *
 * Written for the plugin interface of qemu 7.2 (Debian 12).
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qemu-plugin.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

enum { MARK_SYSCALL = 5555, LINE_SHIFT = 6, KIB = 1024, CACHE_LEVELS = 3 };

/* ---- what is counted ---------------------------------------------------------------------- */

enum counter {
    INTEGER, BRANCH, LOAD, STORE, FMA32, FMA16, VECTOR, SCALAR_FLOAT, OTHER,
    LOAD_BYTES, STORE_BYTES,
    COUNTERS
};

static const char *const counter_names[COUNTERS] = {
    "integer", "branch", "load", "store", "fma32", "fma16", "vector", "scalar_float", "other",
    "load_bytes", "store_bytes",
};

static uint64_t counts[COUNTERS];

/* ---- decoding ----------------------------------------------------------------------------- */

struct pattern {
    uint32_t mask, value;
};

static bool matches(uint32_t word, struct pattern pattern)
{
    return (word & pattern.mask) == pattern.value;
}

static uint32_t bits(uint32_t word, int high, int low)
{
    return (word >> low) & ((1u << (high - low + 1)) - 1);
}

static bool bit(uint32_t word, int at)
{
    return bits(word, at, at);
}

/* Top level: bits 28 to 25. */
static const struct pattern DATA_IMMEDIATE = {0x1c000000, 0x10000000};
static const struct pattern DATA_REGISTER = {0x0e000000, 0x0a000000};
static const struct pattern BRANCHES_AND_SYSTEM = {0x1c000000, 0x14000000};
static const struct pattern LOADS_AND_STORES = {0x0a000000, 0x08000000};
static const struct pattern FLOAT_AND_VECTOR = {0x0e000000, 0x0e000000};

/* Loads and stores. */
static const struct pattern STRUCTURES = {0xbe000000, 0x0c000000};      /* LD1-4, ST1-4 */
static const struct pattern SINGLE_STRUCTURE = {0xbf000000, 0x0d000000}; /* one lane, or LD1R-4R */
static const struct pattern EXCLUSIVE = {0x3f000000, 0x08000000};       /* and acquire, release */
static const struct pattern LITERAL = {0x3b000000, 0x18000000};
static const struct pattern PAIR = {0x3a000000, 0x28000000};
static const struct pattern ATOMIC = {0x3f200c00, 0x38200000}; /* reads, changes and writes */

/* Floating point and vectors. FMLA only: its subtracting twin FMLS counts as VECTOR. */
static const struct pattern SCALAR_ONE_OR_TWO_SOURCES = {0x5f000000, 0x1e000000};
static const struct pattern SCALAR_THREE_SOURCES = {0x5f000000, 0x1f000000};
static const struct pattern FMLA_SINGLE = {0xbfe0fc00, 0x0e20cc00};
static const struct pattern FMLA_SINGLE_BY_ELEMENT = {0xbfc0f400, 0x0f801000};
static const struct pattern FMLA_HALF = {0xbfe0fc00, 0x0e400c00};
static const struct pattern FMLA_HALF_BY_ELEMENT = {0xbfc0f400, 0x0f001000};

struct access {
    bool loads;
    unsigned bytes;
};

/* Registers moved by LD1-4 and ST1-4 of whole registers, by bits 15 to 12; 0: unallocated. */
static const unsigned char structure_registers[16] = {
    [0x0] = 4, [0x2] = 4, [0x4] = 3, [0x6] = 3, [0x7] = 1, [0x8] = 2, [0xa] = 2,
};

static struct access decode_structures(uint32_t word)
{
    unsigned register_bytes = bit(word, 30) ? 16 : 8;
    return (struct access){bit(word, 22), structure_registers[bits(word, 15, 12)] * register_bytes};
}

static struct access decode_single_structure(uint32_t word)
{
    unsigned registers = 2 * bit(word, 13) + bit(word, 21) + 1;
    unsigned shift = bits(word, 15, 14);
    bool replicates = shift == 3, is_double = shift == 2 && bit(word, 10);
    if (replicates)
        shift = bits(word, 11, 10);
    else if (is_double)
        shift = 3;
    return (struct access){bit(word, 22), registers << shift};
}

static struct access decode_exclusive(uint32_t word)
{
    unsigned bytes = 1u << bits(word, 31, 30);
    bool is_ordered = bit(word, 23), is_pair_or_swap = bit(word, 21);
    if (!is_pair_or_swap)
        return (struct access){bit(word, 22), bytes};
    if (is_ordered) /* CAS */
        return (struct access){true, bytes};
    if (bit(word, 31)) /* LDXP, STXP */
        return (struct access){bit(word, 22), 2 * bytes};
    return (struct access){true, bit(word, 30) ? 16 : 8}; /* CASP */
}

static struct access decode_literal(uint32_t word)
{
    unsigned size = bits(word, 31, 30);
    if (bit(word, 26)) /* a vector register */
        return (struct access){true, 4u << size};
    return (struct access){true, size == 3 ? 0 /* a prefetch */ : size == 1 ? 8 : 4};
}

static struct access decode_pair(uint32_t word)
{
    unsigned size = bits(word, 31, 30);
    bool is_vector = bit(word, 26);
    unsigned register_bytes = is_vector ? 4u << size : size == 2 ? 8 : 4;
    return (struct access){bit(word, 22), 2 * register_bytes};
}

static struct access decode_single_register(uint32_t word)
{
    unsigned size = bits(word, 31, 30), operation = bits(word, 23, 22);
    bool is_vector = bit(word, 26);
    if (is_vector)
        return (struct access){operation & 1, operation & 2 ? 16 : 1u << size};
    if (size == 3 && operation == 2) /* there is no larger register to extend: a prefetch */
        return (struct access){true, 0};
    return (struct access){operation != 0, 1u << size};
}

/* An instruction that loads and stores is a load; a prefetch is a load of no bytes. */
static struct access decode_access(uint32_t word)
{
    if (matches(word, SINGLE_STRUCTURE))
        return decode_single_structure(word);
    if (matches(word, STRUCTURES))
        return decode_structures(word);
    if (matches(word, EXCLUSIVE))
        return decode_exclusive(word);
    if (matches(word, LITERAL))
        return decode_literal(word);
    if (matches(word, PAIR))
        return decode_pair(word);
    if (matches(word, ATOMIC))
        return (struct access){true, 1u << bits(word, 31, 30)};
    return decode_single_register(word);
}

static enum counter float_or_vector_kind(uint32_t word)
{
    if (matches(word, SCALAR_ONE_OR_TWO_SOURCES) || matches(word, SCALAR_THREE_SOURCES))
        return SCALAR_FLOAT;
    if (matches(word, FMLA_SINGLE) || matches(word, FMLA_SINGLE_BY_ELEMENT))
        return FMA32;
    if (matches(word, FMLA_HALF) || matches(word, FMLA_HALF_BY_ELEMENT))
        return FMA16;
    return VECTOR;
}

static enum counter kind(uint32_t word)
{
    if (matches(word, DATA_IMMEDIATE) || matches(word, DATA_REGISTER))
        return INTEGER;
    if (matches(word, BRANCHES_AND_SYSTEM))
        return BRANCH;
    if (matches(word, LOADS_AND_STORES))
        return decode_access(word).loads ? LOAD : STORE;
    if (matches(word, FLOAT_AND_VECTOR))
        return float_or_vector_kind(word);
    return OTHER;
}

/* ---- caches ------------------------------------------------------------------------------- */

struct cache {
    uint64_t *lines; /* [set][way], the most recently used line of a set first */
    uint64_t sets;
    unsigned ways;
    uint64_t misses;
};

static const uint64_t NO_LINE = UINT64_MAX;
static struct cache caches[CACHE_LEVELS];
static uint64_t last_line = UINT64_MAX;
static bool caches_run;

static bool make_cache(struct cache *cache, unsigned kib, unsigned ways)
{
    uint64_t lines = (uint64_t)kib * KIB >> LINE_SHIFT;
    if (!ways || !lines || lines % ways)
        return false;
    cache->ways = ways;
    cache->sets = lines / ways;
    cache->lines = malloc(lines * sizeof *cache->lines);
    if (!cache->lines)
        return false;
    for (uint64_t i = 0; i < lines; i++)
        cache->lines[i] = NO_LINE;
    return true;
}

/* Brings the line to the front of its set, and tells whether it was there. */
static bool hits(struct cache *cache, uint64_t line)
{
    uint64_t *set = cache->lines + line % cache->sets * cache->ways;
    unsigned way = 0;
    while (way < cache->ways - 1 && set[way] != line)
        way++;
    bool hit = set[way] == line;
    memmove(set + 1, set, way * sizeof *set);
    set[0] = line;
    cache->misses += !hit;
    return hit;
}

static void touch(uint64_t line)
{
    if (line == last_line) /* it is in front of its set already */
        return;
    last_line = line;
    for (int level = 0; level < CACHE_LEVELS; level++)
        if (hits(&caches[level], line))
            return;
}

static void on_access(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t address, void *data)
{
    if (!caches_run)
        return;
    uint64_t bytes = 1u << qemu_plugin_mem_size_shift(info);
    uint64_t first = address >> LINE_SHIFT, last = (address + bytes - 1) >> LINE_SHIFT;
    touch(first);
    if (last != first)
        touch(last);
}

/* ---- what qemu calls ---------------------------------------------------------------------- */

static void count_instruction(struct qemu_plugin_insn *instruction, uint64_t *block)
{
    uint32_t word;
    memcpy(&word, qemu_plugin_insn_data(instruction), sizeof word);
    enum counter counter = kind(word);
    block[counter]++;
    if (counter != LOAD && counter != STORE)
        return;
    block[counter == LOAD ? LOAD_BYTES : STORE_BYTES] += decode_access(word).bytes;
    qemu_plugin_register_vcpu_mem_cb(instruction, on_access, QEMU_PLUGIN_CB_NO_REGS,
                                     QEMU_PLUGIN_MEM_RW, NULL);
}

/* A block is decoded when it is translated; each execution only adds its totals. */
static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *translated)
{
    uint64_t block[COUNTERS] = {0};
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(translated); i++)
        count_instruction(qemu_plugin_tb_get_insn(translated, i), block);
    for (int i = 0; i < COUNTERS; i++)
        if (block[i])
            qemu_plugin_register_vcpu_tb_exec_inline(translated, QEMU_PLUGIN_INLINE_ADD_U64,
                                                     &counts[i], block[i]);
}

static FILE *out;

static void write_line(int64_t tag)
{
    fprintf(out, "{\"tag\": %" PRId64, tag);
    for (int i = 0; i < COUNTERS; i++)
        fprintf(out, ", \"%s\": %" PRIu64, counter_names[i], counts[i]);
    for (int level = 0; level < CACHE_LEVELS; level++)
        fprintf(out, ", \"l%d_misses\": %" PRIu64, level + 1, caches[level].misses);
    fprintf(out, "}\n");
    fflush(out);
}

static void on_syscall(qemu_plugin_id_t id, unsigned int vcpu, int64_t number, uint64_t tag,
                       uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6,
                       uint64_t a7, uint64_t a8)
{
    if (number != MARK_SYSCALL)
        return;
    write_line((int64_t)tag);
    caches_run = true;
}

static bool read_argument(const char *argument)
{
    unsigned level, kib, ways;
    if (!strncmp(argument, "out=", 4))
        return (out = fopen(argument + 4, "w")) != NULL;
    return sscanf(argument, "l%u=%u:%u", &level, &kib, &ways) == 3
        && level >= 1 && level <= CACHE_LEVELS && make_cache(&caches[level - 1], kib, ways);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info,
                                           int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        if (!read_argument(argv[i])) {
            fprintf(stderr, "arm_counts: bad argument %s\n", argv[i]);
            return 1;
        }
    if (!out || !caches[0].lines || !caches[1].lines || !caches[2].lines) {
        fprintf(stderr, "arm_counts: needs out=FILE and l1=, l2=, l3=KIB:WAYS\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_vcpu_syscall_cb(id, on_syscall);
    return 0;
}
