// Which devices there are.
#include "../device.h"
#include "runtime.h"

#include <cstdio>
#include <string>

namespace powerinfer {

namespace {

// CUDA has one error for no driver and for an old one.
std::string reason_of(cudaError_t status) {
    int driver = 0;
    int runtime = 0;
    if (status != cudaErrorInsufficientDriver || cudaDriverGetVersion(&driver) != cudaSuccess ||
        cudaRuntimeGetVersion(&runtime) != cudaSuccess) {
        return status == cudaSuccess ? "the driver lists none" : cudaGetErrorString(status);
    }
    const auto text_of = [](int version) {
        return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
    };
    return driver == 0 ? "no driver is installed"
                       : "the driver is for CUDA " + text_of(driver) + ", this program is for " +
                             text_of(runtime);
}

} // namespace

int count_devices() {
    int n = 0;
    const cudaError_t status = cudaGetDeviceCount(&n);
    PI_CHECK(
        status == cudaSuccess && n > 0,
        device,
        "no GPU can be used: %s; `nvidia-smi` shows whether the driver sees one",
        reason_of(status).c_str()
    );
    return n;
}

DeviceInfo device_info(int index) {
    cudaDeviceProp properties{};
    cuda::check(cudaGetDeviceProperties(&properties, index), "properties of the device");
    cuda::check(cudaSetDevice(index), "choice of the device");
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    cuda::check(cudaMemGetInfo(&free_bytes, &total_bytes), "memory of the device");
    char pci_bus_id[32];
    std::snprintf(
        pci_bus_id,
        sizeof pci_bus_id,
        "%08x:%02x:%02x.0",
        static_cast<unsigned>(properties.pciDomainID),
        static_cast<unsigned>(properties.pciBusID),
        static_cast<unsigned>(properties.pciDeviceID)
    );
    cuda::check(cudaSetDevice(0), "choice of the device"); // where everything else is
    return {properties.name, PI_DEVICE_API, total_bytes, free_bytes, pci_bus_id};
}

} // namespace powerinfer
