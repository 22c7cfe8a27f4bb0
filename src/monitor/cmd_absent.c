/* Queries about what this machine has none of, or what has not begun: management asks for them before it does anything
 * else, and an empty answer is true. Jobs and exports of block devices, helpers for persistent reservations, migration,
 * record and replay, displays, AMD SEV and Intel SGX. Main loop, machine lock held. */

#include "monitor/command.h"

#include <string.h>

static bool query_nothing(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_list();
    return true;
}

/* --- jobs and exports of block devices --- */

static const char *const job_types[]    = { "commit", "stream",        "mirror",        "backup",          "create",
                                            "amend",  "snapshot-load", "snapshot-save", "snapshot-delete", NULL };
static const char *const job_states[]   = { "undefined", "created", "running",  "paused",    "ready", "standby",
                                            "waiting",   "pending", "aborting", "concluded", "null",  NULL };
static const char *const io_states[]    = { "ok", "failed", "nospace", NULL };
static const char *const export_types[] = { "nbd", "vhost-user-blk", "fuse", "vduse-blk", NULL };

static const Field job_info[]        = { QMP_STRING("id"),
                                         QMP_ENUM("type", job_types),
                                         QMP_ENUM("status", job_states),
                                         QMP_INT("current-progress"),
                                         QMP_INT("total-progress"),
                                         QMP_MAYBE_STRING("error"),
                                         {} };
static const Field jobs_result       = QMP_LIST("", job_info);
static const Field block_job_info[]  = { QMP_ENUM("type", job_types),
                                         QMP_STRING("device"),
                                         QMP_INT("len"),
                                         QMP_INT("offset"),
                                         QMP_BOOL("busy"),
                                         QMP_BOOL("paused"),
                                         QMP_INT("speed"),
                                         QMP_ENUM("io-status", io_states),
                                         QMP_BOOL("ready"),
                                         QMP_ENUM("status", job_states),
                                         QMP_BOOL("auto-finalize"),
                                         QMP_BOOL("auto-dismiss"),
                                         QMP_MAYBE_STRING("error"),
                                         {} };
static const Field block_jobs_result = QMP_LIST("", block_job_info);
static const Field export_info[]     = {
        QMP_STRING("id"), QMP_ENUM("type", export_types), QMP_STRING("node-name"), QMP_BOOL("shutting-down"), {}
};
static const Field exports_result = QMP_LIST("", export_info);

static const Field manager_info[]  = { QMP_STRING("id"), QMP_BOOL("connected"), {} };
static const Field managers_result = QMP_LIST("", manager_info);

/* --- migration, record and replay --- */

static const char *const migration_states[] = { "none",
                                                "setup",
                                                "cancelling",
                                                "cancelled",
                                                "active",
                                                "postcopy-active",
                                                "postcopy-paused",
                                                "postcopy-recover-setup",
                                                "postcopy-recover",
                                                "completed",
                                                "failed",
                                                "colo",
                                                "pre-switchover",
                                                "device",
                                                "wait-unplug",
                                                NULL };
static const Field       migration_info[]   = { QMP_MAYBE_ENUM("status", migration_states), {} };
static const Field       migration_result   = QMP_OBJECT("", migration_info);

static bool query_migrate(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_object();
    return true;
}

static const Field limit_info[]  = { QMP_INT("cpu-index"), QMP_INT("limit-rate"), QMP_INT("current-rate"), {} };
static const Field limits_result = QMP_LIST("", limit_info);

static const char *const replay_modes[] = { "none", "record", "play", NULL };
static const Field       replay_info[]  = {
           QMP_ENUM("mode", replay_modes), QMP_MAYBE_STRING("filename"), QMP_INT("icount"), {}
};
static const Field replay_result = QMP_OBJECT("", replay_info);

static bool query_replay(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_object();
    json_add(*result, "mode", json_new_string(replay_modes[0]));
    json_add(*result, "icount", json_new_int(0));
    return true;
}

/* --- displays --- */

static const char *const display_types[] = { "none", NULL };
static const Field       display_info[]  = { QMP_ENUM("type", display_types), {} };
static const Field       display_result  = QMP_OBJECT("", display_info);

static bool query_display_options(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_object();
    json_add(*result, "type", json_new_string(display_types[0]));
    return true;
}

/* --- AMD SEV, Intel SGX: guests whose memory the host cannot read --- */

static const char *const sev_states[] = { "uninit",  "launch-update", "launch-secret",
                                          "running", "send-update",   "receive-update",
                                          NULL };
static const char *const sev_types[]  = { "sev", "sev-snp", NULL };
static const Field       sev_info[]   = { QMP_BOOL("enabled"),
                                          QMP_INT("api-major"),
                                          QMP_INT("api-minor"),
                                          QMP_INT("build-id"),
                                          QMP_ENUM("state", sev_states),
                                          QMP_ENUM("sev-type", sev_types),
                                          QMP_INT("policy"),
                                          QMP_INT("handle"),
                                          {} };
static const Field       sev_result   = QMP_OBJECT("", sev_info);

static bool query_sev(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_object();
    for (const Field *f = sev_info; f->name; f++) {
        json_add(*result, f->name,
                 f->kind == FIELD_BOOL ? json_new_bool(false)
                 : f->names            ? json_new_string(f->names[0])
                                       : json_new_int(0));
    }
    return true;
}

static bool has_kvm(Monitor *mon)
{
    Accel *accel = mon->machine->accel;
    return accel && !strcmp(accel_type(accel)->name, "kvm");
}

static const Field sev_capability_info[] = { QMP_STRING("pdh"),  QMP_STRING("cert-chain"),     QMP_STRING("cpu0-id"),
                                             QMP_INT("cbitpos"), QMP_INT("reduced-phys-bits"), {} };
static const Field sev_capabilities      = QMP_OBJECT("", sev_capability_info);
static const Field sev_measure_info[]    = { QMP_STRING("data"), {} };
static const Field sev_measure           = QMP_OBJECT("", sev_measure_info);
static const Field sgx_section_info[]    = { QMP_INT("node"), QMP_INT("size"), {} };
static const Field sgx_info[]            = {
               QMP_BOOL("sgx"), QMP_BOOL("sgx1"), QMP_BOOL("sgx2"), QMP_BOOL("flc"), QMP_LIST("sections", sgx_section_info), {}
};
static const Field sgx_result = QMP_OBJECT("", sgx_info);

static bool query_sev_capabilities(Monitor *mon, void *args, Json **result, Error *err)
{
    return has_kvm(mon) ? error_set_unsupported(err, "AMD SEV") : error_set(err, "KVM not enabled");
}

static bool query_sev_measure(Monitor *mon, void *args, Json **result, Error *err)
{
    return error_set(err, "SEV launch measurement is not available");
}

static bool query_sgx(Monitor *mon, void *args, Json **result, Error *err)
{
    return error_set(err, "No EPC regions defined, SGX not available");
}

static bool query_sgx_capabilities(Monitor *mon, void *args, Json **result, Error *err)
{
    return has_kvm(mon) ? error_set_unsupported(err, "Intel SGX") : error_set(err, "SGX is not enabled in KVM");
}

/* --- crypto back ends: none --- */

static const char *const crypto_services[] = { "cipher", "hash", "mac", "aead", "akcipher", NULL };
static const char *const crypto_types[]    = { "builtin", "vhost-user", "lkcf", NULL };
static const Field       crypto_service    = QMP_ENUM("", crypto_services);
static const Field       crypto_client[]   = { QMP_INT("queue"), QMP_ENUM("type", crypto_types), {} };
static const Field       crypto_info[]     = {
              QMP_STRING("id"), QMP_LIST_OF("service", &crypto_service), QMP_LIST("client", crypto_client), {}
};
static const Field crypto_result = QMP_LIST("", crypto_info);

#define ABSENT(name_, result_, help_, run_)                                                                            \
    {                                                                                                                  \
        .name = name_, .result = &result_, .help = help_, .run = run_                                                  \
    }

MONITOR_COMMANDS(absent) = {
    { .name   = "query-jobs",
      .result = &jobs_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "jobs: none",
      .run    = query_nothing },
    { .name   = "query-block-jobs",
      .result = &block_jobs_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "jobs of block devices: none",
      .run    = query_nothing },
    { .name   = "query-block-exports",
      .result = &exports_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "block devices that others can use: none",
      .run    = query_nothing },
    { .name   = "query-pr-managers",
      .result = &managers_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "helpers for persistent reservations: none",
      .run    = query_nothing },
    ABSENT("query-migrate", migration_result, "migration: none has been started", query_migrate),
    ABSENT("query-vcpu-dirty-limit", limits_result, "limits on how fast vCPUs may dirty memory: none", query_nothing),
    ABSENT("query-replay", replay_result, "record and replay: none", query_replay),
    ABSENT("query-display-options", display_result, "how the screen is shown: not at all", query_display_options),
    ABSENT("query-sev", sev_result, "AMD SEV: not in use", query_sev),
    ABSENT("query-sev-capabilities", sev_capabilities, "AMD SEV of the host", query_sev_capabilities),
    ABSENT("query-sev-launch-measure", sev_measure, "measurement of an AMD SEV guest: none", query_sev_measure),
    ABSENT("query-cryptodev", crypto_result, "crypto back ends: none", query_nothing),
    ABSENT("query-sgx", sgx_result, "Intel SGX: not in use", query_sgx),
    ABSENT("query-sgx-capabilities", sgx_result, "Intel SGX of the host", query_sgx_capabilities),
    {},
};
