/* x87, SSE, AVX and further state components between X86Cpu and KVM.
 *
 * Both have the standard format of XSAVE. Components that X86Cpu does not have (AVX-512, PKRU ...) stay in the vCPU's
 * buffer while the machine stands, and are initialized at power-on.
 *
 * Specification: Intel SDM 1, 13.4 (December 2023). */

#include "accel/kvm/kvm.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

enum { FX_FCW = 0, FX_FCW_INIT = 0x37f, MXCSR_INIT = 0x1f80, MXCSR_MASK = XSAVE_MXCSR + 4, LEGACY_END = 416 };

#define OWN_COMPONENTS (XCR0_X87 | XCR0_SSE | XCR0_AVX)

static unsigned long get_request(const Kvm *kvm)
{
    return kvm->xsave_size > (int)sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE;
}

bool kvm_xsave_get(KvmVcpu *k)
{
    k->xcrs.nr_xcrs = 0;
    if (kvm_ioctl(k->fd, get_request(k->kvm), k->xsave) < 0 ||
        (k->kvm->has_xcrs && kvm_ioctl(k->fd, KVM_GET_XCRS, &k->xcrs) < 0)) {
        return kvm_vcpu_fail(k, "KVM does not give the FPU's state (%s)", g_strerror(errno));
    }
    X86Cpu  *cpu     = k->cpu;
    uint8_t *x       = cpu->xsave;
    uint64_t present = load_le64(k->xsave + XSAVE_HEADER);
    memcpy(x, k->xsave, LEGACY_END);
    if (!(present & XCR0_X87)) {
        memset(x, 0, XSAVE_MXCSR);
        store_le16(x + FX_FCW, FX_FCW_INIT);
        memset(x + XSAVE_ST, 0, XSAVE_XMM - XSAVE_ST);
    }
    if (!(present & XCR0_SSE)) {
        memset(x + XSAVE_XMM, 0, LEGACY_END - XSAVE_XMM);
    }
    if (!(present & (XCR0_SSE | XCR0_AVX))) {
        store_le32(x + XSAVE_MXCSR, MXCSR_INIT);
    }
    if (present & XCR0_AVX) {
        memcpy(x + XSAVE_YMM, k->xsave + XSAVE_YMM, XSAVE_SIZE - XSAVE_YMM);
    } else {
        memset(x + XSAVE_YMM, 0, XSAVE_SIZE - XSAVE_YMM);
    }
    for (uint32_t i = 0; i < k->xcrs.nr_xcrs; i++) {
        if (k->xcrs.xcrs[i].xcr == 0) {
            cpu->xcr0 = k->xcrs.xcrs[i].value;
        }
    }
    return true;
}

bool kvm_xsave_put(KvmVcpu *k, bool power_on)
{
    const X86Cpu *cpu     = k->cpu;
    uint64_t      present = load_le64(k->xsave + XSAVE_HEADER) & ~OWN_COMPONENTS;
    uint32_t      mask    = load_le32(k->xsave + MXCSR_MASK);
    if (power_on) {
        memset(k->xsave, 0, (size_t)k->kvm->xsave_size);
        present = 0;
    }
    memcpy(k->xsave, cpu->xsave, LEGACY_END);
    store_le32(k->xsave + MXCSR_MASK, mask);
    memcpy(k->xsave + XSAVE_YMM, cpu->xsave + XSAVE_YMM, XSAVE_SIZE - XSAVE_YMM);
    present |= XCR0_X87 | XCR0_SSE;
    if (k->kvm->xcr0 & XCR0_AVX) {
        present |= XCR0_AVX;
    }
    store_le64(k->xsave + XSAVE_HEADER, present);

    k->xcrs = (struct kvm_xcrs){ .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = cpu->xcr0 } } };
    if (kvm_ioctl(k->fd, KVM_SET_XSAVE, k->xsave) < 0 ||
        (k->kvm->has_xcrs && kvm_ioctl(k->fd, KVM_SET_XCRS, &k->xcrs) < 0)) {
        return kvm_vcpu_fail(k, "KVM does not take the FPU's state (%s)", g_strerror(errno));
    }
    return true;
}
