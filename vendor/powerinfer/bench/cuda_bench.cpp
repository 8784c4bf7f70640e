// Speed of the device: of copies, of each kernel, and of whole models that it shares with the host.
//   cuda_bench [device] [copy] [kernels:SHAPE] [SHAPE] [FILE] ...
// By default copy kernels:1b kernels:7b 7b; `device` says only which one it is. SHAPE is tiny, 1b
// or 7b: a model with random weights is written to the temporary folder. Fails where a model takes
// more of the device's memory than was planned.
#include "device_copies.h"
#include "device_kernels.h"
#include "device_models.h"

#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

using namespace bench;

namespace {

// `copy_speed` is known to the parts that follow the measurement of copies.
bool run(const std::string& part, double& copy_speed) {
    constexpr std::string_view kKernels = "kernels:";
    if (part == "device") { // named already
        return true;
    }
    if (part == "copy") {
        copy_speed = measure_copies();
        return true;
    }
    if (part.starts_with(kKernels)) {
        const ModelShape* shape = find_shape(part.substr(kKernels.size()));
        PI_CHECK(shape != nullptr, invalid_argument, "%s: want tiny, 1b or 7b", part.c_str());
        measure_kernels(*shape, copy_speed);
        return true;
    }
    if (const ModelShape* shape = find_shape(part)) {
        return measure_shape(*shape);
    }
    return measure_model(std::filesystem::path(part).filename().string(), part);
}

} // namespace

int main(int argc, char** argv) {
    std::setvbuf(stdout, nullptr, _IOLBF, 0); // what was measured before a time limit counts
    std::vector<std::string> parts(argv + 1, argv + argc);
    if (parts.empty()) {
        parts = {"copy", "kernels:1b", "kernels:7b", "7b"};
    }
    bool is_good = true;
    double copy_speed = 0;
    try {
        count_devices(); // or the reason why there is none
        const DeviceInfo device = device_info(0);
        std::printf(
            "%s (%s), %.0f of %.0f MiB free\n",
            device.name.c_str(),
            device.api,
            static_cast<double>(device.free_bytes) / kMiB,
            static_cast<double>(device.total_bytes) / kMiB
        );
        for (const std::string& part : parts) {
            is_good = run(part, copy_speed) && is_good;
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "cuda_bench: %s\n", error.what());
        return 1;
    }
    return is_good ? 0 : 1;
}
