// Not tested, no AMD GPU was at hand: the names of CUDA that the device code uses, for hipcc. It
// takes a target with warps of 32 threads (gfx10 and later), where a mask of a warp has 32 bits.
#pragma once

#include <hip/hip_fp16.h>
#include <hip/hip_runtime.h>

#define cudaError_t     hipError_t
#define cudaStream_t    hipStream_t
#define cudaEvent_t     hipEvent_t
#define cudaGraph_t     hipGraph_t
#define cudaGraphExec_t hipGraphExec_t
#define cudaDeviceProp  hipDeviceProp_t

#define cudaSuccess                   hipSuccess
#define cudaErrorInvalidValue         hipErrorInvalidValue
#define cudaErrorMemoryAllocation     hipErrorOutOfMemory
#define cudaErrorInitializationError  hipErrorNotInitialized
#define cudaErrorInvalidConfiguration hipErrorInvalidConfiguration
#define cudaErrorInsufficientDriver   hipErrorInsufficientDriver
#define cudaErrorNoDevice             hipErrorNoDevice
#define cudaErrorInvalidDevice        hipErrorInvalidDevice
#define cudaErrorNotReady             hipErrorNotReady
#define cudaErrorLaunchFailure        hipErrorLaunchFailure
#define cudaGetErrorName              hipGetErrorName
#define cudaGetErrorString            hipGetErrorString
#define cudaGetLastError              hipGetLastError
#define cudaPeekAtLastError           hipPeekAtLastError

#define cudaGetDevice           hipGetDevice
#define cudaGetDeviceCount      hipGetDeviceCount
#define cudaGetDeviceProperties hipGetDeviceProperties
#define cudaSetDevice           hipSetDevice
#define cudaDeviceSynchronize   hipDeviceSynchronize
#define cudaMemGetInfo          hipMemGetInfo
#define cudaDriverGetVersion    hipDriverGetVersion
#define cudaRuntimeGetVersion   hipRuntimeGetVersion

#define cudaMalloc                 hipMalloc
#define cudaFree                   hipFree
#define cudaHostAlloc              hipHostMalloc
#define cudaHostAllocDefault       hipHostMallocDefault
#define cudaHostAllocMapped        hipHostMallocMapped
#define cudaHostAllocPortable      hipHostMallocPortable
#define cudaHostAllocWriteCombined hipHostMallocWriteCombined
#define cudaHostGetDevicePointer   hipHostGetDevicePointer
#define cudaFreeHost               hipHostFree
#define cudaMemcpy                 hipMemcpy
#define cudaMemcpyAsync            hipMemcpyAsync
#define cudaMemcpyDefault          hipMemcpyDefault
#define cudaMemcpyDeviceToDevice   hipMemcpyDeviceToDevice
#define cudaMemcpyDeviceToHost     hipMemcpyDeviceToHost
#define cudaMemcpyKind             hipMemcpyKind
#define cudaMemcpyHostToDevice     hipMemcpyHostToDevice
#define cudaMemcpyHostToHost       hipMemcpyHostToHost
#define cudaMemset                 hipMemset
#define cudaMemsetAsync            hipMemsetAsync

#define cudaStreamCreateWithFlags hipStreamCreateWithFlags
#define cudaStreamDefault         hipStreamDefault
#define cudaStreamNonBlocking     hipStreamNonBlocking
#define cudaStreamDestroy         hipStreamDestroy
#define cudaStreamQuery           hipStreamQuery
#define cudaStreamSynchronize     hipStreamSynchronize
#define cudaStreamWaitEvent       hipStreamWaitEvent
#define cudaEventCreateWithFlags  hipEventCreateWithFlags
#define cudaEventDefault          hipEventDefault
#define cudaEventDisableTiming    hipEventDisableTiming
#define cudaEventBlockingSync     hipEventBlockingSync
#define cudaEventDestroy          hipEventDestroy
#define cudaEventElapsedTime      hipEventElapsedTime
#define cudaEventQuery            hipEventQuery
#define cudaEventRecord           hipEventRecord
#define cudaEventSynchronize      hipEventSynchronize

#define cudaStreamBeginCapture           hipStreamBeginCapture
#define cudaStreamCaptureModeGlobal      hipStreamCaptureModeGlobal
#define cudaStreamCaptureModeThreadLocal hipStreamCaptureModeThreadLocal
#define cudaStreamCaptureModeRelaxed     hipStreamCaptureModeRelaxed
#define cudaStreamCaptureStatus          hipStreamCaptureStatus
#define cudaStreamCaptureStatusNone      hipStreamCaptureStatusNone
#define cudaStreamCaptureStatusActive    hipStreamCaptureStatusActive
#define cudaStreamIsCapturing            hipStreamIsCapturing
#define cudaStreamEndCapture             hipStreamEndCapture
#define cudaGraphInstantiate             hipGraphInstantiateWithFlags
#define cudaGraphLaunch                  hipGraphLaunch
#define cudaGraphDestroy                 hipGraphDestroy
#define cudaGraphExecDestroy             hipGraphExecDestroy

#define cudaFuncAttributeMaxDynamicSharedMemorySize hipFuncAttributeMaxDynamicSharedMemorySize

template <typename F>
inline hipError_t cudaFuncSetAttribute(F* kernel, hipFuncAttribute attribute, int value) {
    return hipFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}

#define __grid_constant__ // arguments are constant there without

// HIP has these for masks of 64 bits if at all. Ours name the whole warp, or the lanes that are
// there.
#define __shfl_sync(mask, ...)         __shfl(__VA_ARGS__)
#define __shfl_up_sync(mask, ...)      __shfl_up(__VA_ARGS__)
#define __shfl_down_sync(mask, ...)    __shfl_down(__VA_ARGS__)
#define __shfl_xor_sync(mask, ...)     __shfl_xor(__VA_ARGS__)
#define __ballot_sync(mask, predicate) static_cast<unsigned>(__ballot(predicate))
#define __any_sync(mask, predicate)    __any(predicate)
#define __all_sync(mask, predicate)    __all(predicate)

// Its lanes go on together; what is left is that memory is written before it is read.
inline __device__ void __syncwarp(unsigned = 0xffffffffU) {
    __builtin_amdgcn_fence(__ATOMIC_ACQ_REL, "wavefront");
    __builtin_amdgcn_wave_barrier();
}

template <typename T>
inline __device__ T __ldcs(const T* address) {
    return __builtin_nontemporal_load(address);
}

// c and the products of the four bytes of a and b.
inline __device__ int __dp4a(int a, int b, int c) {
    for (int shift = 0; shift < 32; shift += 8) {
        c += static_cast<signed char>(a >> shift) * static_cast<signed char>(b >> shift);
    }
    return c;
}
