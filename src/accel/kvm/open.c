/* Opening /dev/kvm, and saying why it cannot be opened. Main thread. */

#include "accel/kvm/kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

int kvm_ioctl(int fd, unsigned long request, void *argument)
{
    int result;
    do {
        result = ioctl(fd, request, argument);
    } while (result < 0 && errno == EINTR);
    return result;
}

int kvm_check(const Kvm *kvm, int capability)
{
    int result = kvm_ioctl(kvm->vm >= 0 ? kvm->vm : kvm->fd, KVM_CHECK_EXTENSION, (void *)(intptr_t)capability);
    return MAX(result, 0);
}

void kvm_note_failure(Kvm *kvm, const char *why)
{
    const char *none = NULL;
    atomic_compare_exchange_strong(&kvm->failed, &none, why);
}

/* --- why not --- */

/* The module that runs on this CPU; NULL when it shows no virtualization. */
static const char *module_for_cpu(void)
{
    unsigned a, b, c, d;
    if (__get_cpuid(1, &a, &b, &c, &d) && c & 1u << 5) {
        return "kvm_intel";
    }
    return __get_cpuid(0x80000001, &a, &b, &c, &d) && c & 1u << 2 ? "kvm_amd" : NULL;
}

static bool is_virtual_machine(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && c & 1u << 31;
}

static bool explain_absence(const char *path, Error *err)
{
    const char *module = module_for_cpu();
    if (module) {
        return error_set(err,
                         "%s does not exist: the kernel module is not loaded (sudo modprobe %s), or this container "
                         "was not given the device (--device /dev/kvm)",
                         path, module);
    }
    return error_set(err, "%s does not exist: this CPU shows neither VMX nor SVM; %s", path,
                     is_virtual_machine() ? "this host is a virtual machine itself, whose hypervisor must allow nesting"
                                          : "switch virtualization on in the firmware's setup, if it has it");
}

static bool explain_refusal(const char *path, int code, Error *err)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return error_set_errno(err, code, "cannot open %s", path);
    }
    struct group  *group = getgrgid(st.st_gid);
    struct passwd *user  = getpwuid(geteuid());
    const char    *name  = user ? user->pw_name : "USER";
    if ((st.st_mode & 0060) != 0060) {
        return error_set(err,
                         "%s may be opened by its owner only; sudo chgrp kvm %s && sudo chmod 660 %s lets the group "
                         "'kvm' use it, which '%s' can join by sudo usermod -aG kvm %s",
                         path, path, path, name, name);
    }
    if (!group) {
        return error_set(err,
                         "%s belongs to group %u, which '%s' is not in and which has no name here (in a container: "
                         "--group-add %u)",
                         path, (unsigned)st.st_gid, name, (unsigned)st.st_gid);
    }
    return error_set(err, "%s belongs to group '%s', which '%s' is not in: sudo usermod -aG %s %s, then log in again",
                     path, group->gr_name, name, group->gr_name, name);
}

int kvm_open(const char *path, Error *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        int code = errno;
        switch (code) {
        case ENOENT:
        case ENODEV:
        case ENXIO:
            if (strcmp(path, "/dev/kvm") == 0) {
                explain_absence(path, err);
                return -1;
            }
            break;
        case EACCES:
        case EPERM: explain_refusal(path, code, err); return -1;
        default: break;
        }
        error_set_errno(err, code, "cannot open %s", path);
        return -1;
    }
    int version = kvm_ioctl(fd, KVM_GET_API_VERSION, NULL);
    if (version != KVM_API_VERSION) {
        if (version < 0) {
            error_set(err, "%s is not KVM's device", path);
        } else {
            error_set(err, "%s speaks version %d of KVM's interface, not %d", path, version, KVM_API_VERSION);
        }
        close(fd);
        return -1;
    }
    return fd;
}

int kvm_create_vm(int fd, Error *err)
{
    int vm = kvm_ioctl(fd, KVM_CREATE_VM, NULL);
    if (vm >= 0) {
        return vm;
    }
    int code = errno;
    if (code == EBUSY) {
        error_set(err,
                  "another hypervisor (VirtualBox, VMware ...) uses the CPU's virtualization: end its machines, or "
                  "unload its module");
    } else if (code == ENODEV || code == EOPNOTSUPP || code == ENOTTY) {
        error_set_errno(err, code,
                        "KVM makes no VM on this CPU (is virtualization switched off in the firmware's setup?)");
    } else {
        error_set_errno(err, code, "KVM makes no VM");
    }
    return -1;
}
