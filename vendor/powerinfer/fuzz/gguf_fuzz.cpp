// libFuzzer entry for the container reader: any bytes parse or throw Error, and all that a parsed
// file calls readable is read.
#include "error.h"
#include "gguf.h"
#include "gguf_walk.h"

#include <cstdint>
#include <cstdlib>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t n_bytes) {
    try {
        const powerinfer::GgufFile file =
            powerinfer::GgufFile::from_bytes(std::as_bytes(std::span(data, n_bytes)));
        if (!test::walk(file).is_consistent) {
            std::abort();
        }
    } catch (const powerinfer::Error& error) {
        const bool is_input_error = error.kind() == powerinfer::ErrorKind::format ||
                                    error.kind() == powerinfer::ErrorKind::unsupported;
        if (!is_input_error) {
            std::abort();
        }
    }
    return 0;
}
