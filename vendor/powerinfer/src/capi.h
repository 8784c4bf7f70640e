// What the files of the C interface share: the handles, and the one place where exceptions end.
#pragma once

#include "context.h"
#include "error.h"
#include "gguf.h"
#include "gpu_index.h"
#include "model.h"
#include "powerinfer.h"

#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>

struct pi_file {
    std::shared_ptr<const powerinfer::GgufFile> gguf;
};

struct pi_model {
    std::shared_ptr<const powerinfer::Model> model;
    std::shared_ptr<powerinfer::DeviceModel> device; // nullptr: the host computes all
};

struct pi_placement {
    powerinfer::Placement placement;
    powerinfer::ContextShape shape;               // that it was made for
    powerinfer::Strategy strategy{};              // likewise
    powerinfer::GpuIndex index;                   // what would be written, but for the neurons
    pi_gpu_index_state state = PI_GPU_INDEX_NONE; // of the one that was given
};

struct pi_context {
    powerinfer::Context context;
};

namespace powerinfer::capi {

// Absent for the default. Throws Error(invalid_argument) for a number that is no strategy.
std::optional<Strategy> given_strategy(pi_strategy strategy);

// An error for the caller to free; never fails.
pi_error* new_error(pi_error_kind kind, const char* message) noexcept;

// Runs `body` and turns whatever it throws into an error object.
template <typename Body>
pi_error* guarded(Body&& body) noexcept {
    try {
        body();
        return nullptr;
    } catch (const Error& error) {
        return new_error(static_cast<pi_error_kind>(error.kind()), error.what());
    } catch (const std::bad_alloc&) {
        return new_error(PI_ERROR_OUT_OF_MEMORY, "out of memory");
    } catch (const std::exception& error) {
        return new_error(PI_ERROR_INTERNAL, error.what());
    } catch (...) {
        return new_error(PI_ERROR_INTERNAL, "unknown exception");
    }
}

inline void require(const void* pointer, const char* name) {
    PI_CHECK(pointer != nullptr, invalid_argument, "%s: want a pointer, got NULL", name);
}

// A caller built against an older header passes a shorter struct: what it does not know keeps its
// default, what it does not have is not written.
template <typename T>
T read_options(const T* given, void (*init)(T*)) {
    T options;
    init(&options);
    if (given == nullptr) {
        return options;
    }
    PI_CHECK(
        given->struct_size >= sizeof(uint32_t) && given->struct_size <= sizeof(T),
        invalid_argument,
        "options: struct_size is %u, this library knows up to %zu",
        given->struct_size,
        sizeof(T)
    );
    std::memcpy(&options, given, given->struct_size);
    options.struct_size = sizeof(T);
    return options;
}

template <typename T>
void write_out(T* out, T value) noexcept {
    static_assert(std::is_trivially_copyable_v<T>);
    const size_t n = out->struct_size < sizeof(T) ? out->struct_size : sizeof(T);
    value.struct_size = out->struct_size;
    std::memcpy(out, &value, n);
}

} // namespace powerinfer::capi
