// The C interface: version, errors, element types and measuring.
#include "capi.h"

#include "measure.h"
#include "quantize.h"

#include <string>

using namespace powerinfer;
using namespace powerinfer::capi;

struct pi_error {
    pi_error_kind kind;
    std::string message;
};

namespace {

// Handed out when there is no memory for an error; pi_error_free leaves it alone.
pi_error* out_of_memory_error() noexcept {
    static pi_error error{PI_ERROR_OUT_OF_MEMORY, "out of memory"}; // fits the string's own storage
    return &error;
}

} // namespace

pi_error* capi::new_error(pi_error_kind kind, const char* message) noexcept {
    try {
        return new pi_error{kind, message};
    } catch (...) {
        return out_of_memory_error();
    }
}

uint32_t pi_abi_version(void) {
    return PI_ABI_VERSION;
}

const char* pi_cpu_name(void) {
    try {
        return cpu::best_ops().name;
    } catch (const Error&) {
        return "unavailable"; // POWERINFER_CPU names what this processor lacks; contexts will say
                              // so
    }
}

pi_error_kind pi_error_get_kind(const pi_error* error) {
    return error->kind;
}

const char* pi_error_get_message(const pi_error* error) {
    return error->message.c_str();
}

void pi_error_free(pi_error* error) {
    if (error != out_of_memory_error()) {
        delete error;
    }
}

namespace {

const DTypeInfo& known_dtype(uint32_t dtype) {
    const DTypeInfo* info = dtype_info(dtype);
    PI_CHECK(info != nullptr, unsupported, "tensor type %u is not known", dtype);
    return *info;
}

const DTypeInfo& weight_dtype(uint32_t dtype, size_t n) {
    const DTypeInfo& info = known_dtype(dtype);
    PI_CHECK(info.is_weight, unsupported, "tensor type %s cannot be computed with", info.name);
    PI_CHECK(
        n % static_cast<size_t>(info.block_elements) == 0 && n <= INT32_MAX,
        invalid_argument,
        "%s: want a multiple of %d values, got %zu",
        info.name,
        info.block_elements,
        n
    );
    return info;
}

} // namespace

pi_error* pi_dtype_get_info(uint32_t dtype, pi_dtype_info* out) {
    return guarded([&] {
        require(out, "out");
        const DTypeInfo& known = known_dtype(dtype);
        pi_dtype_info info{};
        info.block_elements = static_cast<uint32_t>(known.block_elements);
        info.block_bytes = static_cast<uint32_t>(known.block_bytes);
        info.is_weight = known.is_weight ? 1 : 0;
        info.name = known.name;
        write_out(out, info);
    });
}

pi_error* pi_quantize_row(uint32_t dtype, const float* x, size_t n, void* out) {
    return guarded([&] {
        require(x, "x");
        require(out, "out");
        weight_dtype(dtype, n);
        quantize_row(
            static_cast<DType>(dtype), static_cast<std::byte*>(out), x, static_cast<int64_t>(n)
        );
    });
}

pi_error* pi_dequantize_row(uint32_t dtype, const void* row, size_t n, float* out) {
    return guarded([&] {
        require(row, "row");
        require(out, "out");
        weight_dtype(dtype, n);
        cpu::best_ops()
            .of(static_cast<DType>(dtype))
            .dequantize(out, static_cast<const std::byte*>(row), static_cast<int>(n));
    });
}

pi_error* pi_measure_read_bandwidth(uint32_t n_threads, size_t n_bytes, double* out) {
    return guarded([&] {
        require(out, "out");
        PI_CHECK(
            n_threads >= 1 && n_threads <= 1024 && n_bytes > 0,
            invalid_argument,
            "want 1 to 1024 threads and some bytes, got %u and %zu",
            n_threads,
            n_bytes
        );
        *out = measure_read_bandwidth(static_cast<int>(n_threads), n_bytes);
    });
}

pi_error* pi_measure_kernel(
    uint32_t dtype, uint32_t axpy, uint32_t n_rows, uint32_t n_cols, double* out
) {
    return guarded([&] {
        require(out, "out");
        weight_dtype(dtype, n_cols);
        PI_CHECK(
            n_rows >= 1 && n_rows <= INT32_MAX && n_cols >= 1,
            invalid_argument,
            "want at least one row and column, got %u and %u",
            n_rows,
            n_cols
        );
        *out = measure_kernel(
            static_cast<DType>(dtype), axpy != 0, static_cast<int>(n_rows), static_cast<int>(n_cols)
        );
    });
}
