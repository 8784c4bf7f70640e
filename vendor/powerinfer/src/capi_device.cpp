// The C interface to devices.
#include "capi.h"
#include "device.h"

#include <algorithm>

using namespace powerinfer;
using namespace powerinfer::capi;

namespace {

// As much as fits, terminated; `out` is zeroed.
template <size_t kSize>
void copy_text(char (&out)[kSize], const std::string& text) {
    std::copy_n(text.data(), std::min(text.size(), kSize - 1), out);
}

} // namespace

pi_error* pi_device_get_info(uint32_t index, pi_device_info* out) {
    return guarded([&] {
        require(out, "out");
        const auto n_devices = static_cast<uint32_t>(count_devices());
        PI_CHECK(
            index < n_devices, invalid_argument, "device: want below %u, got %u", n_devices, index
        );
        const DeviceInfo device = device_info(static_cast<int>(index));
        pi_device_info info{};
        info.n_devices = n_devices;
        info.total_bytes = device.total_bytes;
        info.free_bytes = device.free_bytes;
        info.api = device.api;
        copy_text(info.name, device.name);
        copy_text(info.pci_bus_id, device.pci_bus_id);
        write_out(out, info);
    });
}
