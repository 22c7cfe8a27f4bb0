/* Bytes that somebody might type at the human monitor of a machine with a vCPU and some character devices. What comes
 * back is plain text. The first byte says in pieces of what size they come.
 *
 * While an input runs no descriptor can be opened, so that no command leaves anything behind. */

#include "fuzz.h"

#include "monitor_vm.h"

enum { STEPS = 4 };

/* Text in UTF-8, with CR LF at the ends of lines, and no control characters but backspaces and tabs. */
static void check_output(Chardev *chr, void *unused)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    char_ringbuf_take(chr, MONITOR_VM_RING, data);
    for (guint i = 0; i < data->len; i++) {
        uint8_t c = data->data[i];
        g_assert(c >= 0x20 || c == '\b' || c == '\t' || c == '\r' || (c == '\n' && i > 0 && data->data[i - 1] == '\r'));
    }
    g_assert(g_utf8_validate((const char *)data->data, (gssize)data->len, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    MonitorVm vm;
    monitor_vm_begin(&vm, MONITOR_READLINE);
    if (size) {
        monitor_vm_feed(&vm, data + 1, size - 1, data[0] + 1u, check_output, NULL);
    }
    monitor_vm_settle(&vm, STEPS, check_output, NULL);
    monitor_vm_end(&vm);
    return 0;
}
