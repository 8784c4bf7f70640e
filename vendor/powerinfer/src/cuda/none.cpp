// In place of a device: what a build without CUDA says.
#include "../device.h"
#include "../error.h"

namespace powerinfer {

namespace {

constexpr const char* kReason = "this build of powerinfer has no GPU support; build it with the "
                                "feature `cuda` (CMake: -DPOWERINFER_CUDA=ON)";

} // namespace

int count_devices() {
    PI_THROW(device, "%s", kReason);
}

DeviceInfo device_info(int) {
    PI_THROW(device, "%s", kReason);
}

std::shared_ptr<DeviceModel>
load_device_model(std::shared_ptr<const Model>, const Placement&, const ContextShape&, const LoadProgress&) {
    PI_THROW(device, "%s", kReason);
}

} // namespace powerinfer
