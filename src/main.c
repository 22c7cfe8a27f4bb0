/* The qemu-system-x86_64 program. */

#include "cli/start.h"

int main(int argc, char **argv)
{
    g_auto(Cli) cli   = { 0 };
    g_auto(Error) err = { 0 };
    message_set_options("qemu-system-x86_64", false, NULL);
    cli_init(&cli);
    bool parsed = cli_parse(&cli, argc, argv, &err);
    if (!parsed && !cli_has(&cli, "h") && !cli_has(&cli, "version")) {
        error_report(&err);
        return 1;
    }
    error_clear(&err);
    if (start_answer_help(&cli, &err)) {
        return 0;
    }
    if (error_is_set(&err)) {
        error_report(&err);
        return 1;
    }
    return start_machine(&cli);
}
