/* From a parsed command line to a running machine. */

#ifndef QUERN_CLI_START_H
#define QUERN_CLI_START_H

#include "cli/cli.h"

/* Builds the machine that `cli` describes, runs it until it ends, and cleans up. Returns the exit status. Errors are
 * reported on standard error. */
int start_machine(const Cli *cli);

/* Answers "help" values ("-machine help", "-device e1000,help", -h, -version ...). true: answered, exit with 0. */
bool start_answer_help(const Cli *cli, Error *err);

#endif
