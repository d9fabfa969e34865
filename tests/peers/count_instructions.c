/* Counts the A64 instructions that a program executes under qemu's user-mode emulation, by class, and prints them to standard
 * error at its end:
 *
 *   cc -O2 -shared -fPIC -o libcount.so count_instructions.c
 *   qemu-aarch64 -plugin ./libcount.so PROGRAM
 *
 * Against version 1 of qemu's plugin interface (qemu 6 to 8; Debian 12 has 7.2), whose header distributions do not package: what
 * is used of it is declared here. A translated block adds its numbers each time it is run, so that counting costs little; a
 * block that an exception leaves early is counted whole. Threads add without locks: count programs of one thread. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define PUBLIC __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef struct qemu_info_t qemu_info_t;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, enum qemu_plugin_op, void *, uint64_t);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);

PUBLIC int qemu_plugin_version = 1;

enum class { ALL, VECTOR, VECTOR_MEMORY, MEMORY, CLASSES };
static const char *const names[CLASSES] = {"instructions", "vector", "vector_memory", "memory"};
static uint64_t counts[CLASSES];

/* Bits 25 to 28 of an A64 instruction are its group (Arm Architecture Reference Manual, C4.1): x1x0 loads and stores, of vector
 * registers where bit 26 is set; x111 floating point and vectors. */
static enum class class_of(uint32_t word)
{
    unsigned group = word >> 25 & 15;
    if ((group & 5) == 4)
        return word >> 26 & 1 ? VECTOR_MEMORY : MEMORY;
    return (group & 7) == 7 ? VECTOR : ALL;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    uint64_t of_block[CLASSES] = {0};
    size_t count = qemu_plugin_tb_n_insns(block);
    (void)id;
    for (size_t i = 0; i < count; i++) {
        uint32_t word;
        memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
        of_block[class_of(word)]++;
    }
    of_block[ALL] = count;
    for (int c = 0; c < CLASSES; c++)
        if (of_block[c])
            qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &counts[c], of_block[c]);
}

static void finished(qemu_plugin_id_t id, void *data)
{
    (void)id, (void)data;
    fputs("counted:", stderr);
    for (int c = 0; c < CLASSES; c++)
        fprintf(stderr, " %s=%" PRIu64, names[c], counts[c]);
    fputc('\n', stderr);
}

PUBLIC int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv)
{
    (void)info, (void)argc, (void)argv;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
