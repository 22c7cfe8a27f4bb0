/* Bytes that a QMP client might send, to a machine with a vCPU and some character devices. What comes back is JSON, an
 * object a message. The first byte says in pieces of what size they come.
 *
 * While an input runs no descriptor can be opened, so that no command leaves anything behind. */

#include "fuzz.h"

#include "base/json_stream.h"
#include "monitor_vm.h"

enum { STEPS = 8 };

/* Every message is an object on a line of its own. */
static void check_output(Chardev *chr, void *opaque)
{
    JsonStream *stream         = opaque;
    g_autoptr(GByteArray) data = g_byte_array_new();
    char_ringbuf_take(chr, MONITOR_VM_RING, data);
    for (size_t done = 0, used; done < data->len; done += used) {
        g_auto(Error) err       = { 0 };
        JsonStreamResult result = json_stream_feed(stream, data->data + done, data->len - done, &used, &err);
        g_assert(result != JSON_STREAM_ERROR);
        if (result == JSON_STREAM_VALUE) {
            size_t      len;
            const char *text        = json_stream_text(stream, &len);
            g_autoptr(Json) message = json_parse(text, len, &err);
            g_assert(message && message->kind == JSON_OBJECT);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char hello[] = "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}";
    JsonStream       *stream  = json_stream_new(MONITOR_VM_RING);
    MonitorVm         vm;

    monitor_vm_begin(&vm, MONITOR_CONTROL);
    monitor_vm_feed(&vm, hello, sizeof hello - 1, sizeof hello, check_output, stream);
    if (size) {
        monitor_vm_feed(&vm, data + 1, size - 1, 1 + data[0] * 2, check_output, stream);
    }
    monitor_vm_settle(&vm, STEPS, check_output, stream);
    monitor_vm_end(&vm);
    json_stream_free(stream);
    return 0;
}
