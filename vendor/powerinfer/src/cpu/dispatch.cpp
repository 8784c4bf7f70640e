// Which table of operators this processor runs.
#include "../error.h"
#include "tables.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace powerinfer::cpu {

namespace {

#if defined(__x86_64__)

bool has_f16c() noexcept {
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

// __builtin_cpu_supports also asks whether the operating system saves the registers.
bool has_avx2() noexcept {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

bool has_avx512() noexcept {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
}

#else

bool has_avx2() noexcept {
    return false;
}

bool has_avx512() noexcept {
    return false;
}

#endif

#if defined(__ARM_FEATURE_DOTPROD)

bool has_dotprod() noexcept {
    return true; // the whole program was compiled for such processors
}

#elif defined(__aarch64__) && defined(__linux__)

bool has_dotprod() noexcept {
    constexpr unsigned long kAsimdDp = 1ul << 20; // HWCAP_ASIMDDP, which not every libc defines
    return (getauxval(AT_HWCAP) & kAsimdDp) != 0;
}

#elif defined(__aarch64__) && defined(__APPLE__)

bool has_dotprod() noexcept {
    int value = 0;
    size_t size = sizeof value;
    const int status = sysctlbyname("hw.optional.arm.FEAT_DotProd", &value, &size, nullptr, 0);
    return status == 0 && value != 0;
}

#else

bool has_dotprod() noexcept {
    return false;
}

#endif

const Ops& ops_named(const char* name) {
    const Ops* const tables[] = {
        &scalar_ops(), avx2_ops(), avx512_ops(), neon_ops(), neon_dotprod_ops()
    };
    std::string available;
    for (const Ops* ops : tables) {
        if (ops == nullptr) {
            continue;
        }
        if (std::strcmp(ops->name, name) == 0) {
            return *ops;
        }
        available += available.empty() ? "" : ", ";
        available += ops->name;
    }
    PI_THROW(
        unsupported,
        "POWERINFER_CPU is \"%s\", but this build on this processor has: %s; choose one of them or "
        "unset the variable",
        name,
        available.c_str()
    );
}

} // namespace

const Ops* avx2_ops() noexcept {
    return has_avx2() ? kAvx2Table : nullptr;
}

const Ops* avx512_ops() noexcept {
    return has_avx512() ? kAvx512Table : nullptr;
}

const Ops* neon_ops() noexcept {
    return kNeonTable; // part of every 64-bit Arm
}

const Ops* neon_dotprod_ops() noexcept {
    return has_dotprod() ? kNeonDotprodTable : nullptr;
}

const Ops& best_ops() {
    const char* name = std::getenv("POWERINFER_CPU");
    if (name != nullptr && *name != '\0') {
        return ops_named(name);
    }
    for (const Ops* ops : {avx512_ops(), avx2_ops(), neon_dotprod_ops(), neon_ops()}) {
        if (ops != nullptr) {
            return *ops;
        }
    }
    return scalar_ops();
}

int weight_index(DType type) noexcept {
    switch (type) {
    case DType::f32:
        return 0;
    case DType::f16:
        return 1;
    case DType::bf16:
        return 2;
    case DType::q4_0:
        return 3;
    case DType::q5_0:
        return 4;
    case DType::q8_0:
        return 5;
    case DType::q4_k:
        return 6;
    case DType::q5_k:
        return 7;
    case DType::q6_k:
        return 8;
    case DType::i32:
        break;
    }
    return -1;
}

const TypeOps& Ops::of(DType type) const noexcept {
    return types[static_cast<size_t>(weight_index(type))];
}

} // namespace powerinfer::cpu
