/* The parts of CUDA's libraries that do more than return success. One library is compiled at a time,
 * selected by PART_...; build.py adds a stub for every other symbol that the provider needs.
 *
 * Faults, by environment variables or, while a program runs, by the functions card_...:
 *   CARD_MEMORY=BYTES      the card has this much memory
 *   CARD_CAPABILITY=7.0    the compute capability (default 9.0)
 *   CARD_NO_KERNELS=1      no kernel image for this card: every launch fails
 *   CARD_BUSY=1            the card cannot be opened
 *   CARD_COUNT=N           the number of cards (default 1)
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long setting(const char *name, long otherwise)
{
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

static int capability(int minor)
{
    const char *text = getenv("CARD_CAPABILITY");
    int parts[2] = {9, 0};
    if (text)
        sscanf(text, "%d.%d", &parts[0], &parts[1]);
    return parts[minor];
}

static const char NAME[] = "a card that computes nothing";
static const size_t MEMORY = (size_t)16 << 30;

#ifdef PART_CUDA
int cuInit(unsigned flags) { return setting("CARD_COUNT", 1) ? 0 : 100; }
int cuDriverGetVersion(int *version) { *version = 13010; return 0; }
int cuDeviceGetCount(int *count) { *count = setting("CARD_COUNT", 1); return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device)
{
    snprintf(name, size, "%s", NAME);
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    *bytes = setting("CARD_MEMORY", MEMORY);
    return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device)
{
    *value = attribute == 75 ? capability(0) : attribute == 76 ? capability(1) : 0;
    return 0;
}
#endif

#ifdef PART_CUDART
#include <malloc.h>
#include <pthread.h>

enum {
    SUCCESS = 0,
    OUT_OF_MEMORY = 2,
    BUSY = 46,
    NO_DEVICE = 100,
    NO_KERNELS = 209,
    CAPTURE_FORBIDS = 900,
    CAPTURE_INVALID = 901
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t used, most, limit;
static int captures, replays, launches, capturing, broken, last_error;

size_t card_used(void) { return used; }
size_t card_most(void) { return most; }
void card_limit(size_t bytes) { limit = bytes; }
int card_captures(void) { return captures; }
int card_replays(void) { return replays; }
int card_launches(void) { return launches; }
int card_broken_captures(void) { return broken; }

static size_t room(void) { return limit ? limit : (size_t)setting("CARD_MEMORY", MEMORY); }

/* In the global mode, a capture forbids such calls to all threads, and is lost by one. */
static int forbidden(void)
{
    if (!capturing)
        return SUCCESS;
    capturing = 2;
    return CAPTURE_FORBIDS;
}

static int launch(void)
{
    launches++;
    last_error = getenv("CARD_NO_KERNELS") ? NO_KERNELS : SUCCESS;
    return last_error;
}

int cudaGetDeviceCount(int *count)
{
    *count = setting("CARD_COUNT", 1);
    return *count ? SUCCESS : NO_DEVICE;
}
int cudaGetDevice(int *device) { *device = 0; return SUCCESS; }
int cudaSetDevice(int device) { return getenv("CARD_BUSY") ? BUSY : SUCCESS; }
int cudaDriverGetVersion(int *version) { *version = 13010; return SUCCESS; }
int cudaRuntimeGetVersion(int *version) { *version = 13000; return SUCCESS; }

/* cudaDeviceProp of CUDA 13: its size, and the offsets of the fields that are read. */
int cudaGetDeviceProperties(char *properties, int device)
{
    static const struct { int offset, value; } fields[] = {
        {304, 65536}, {308, 32}, {320, 1024}, {324, 1024}, {328, 1024}, {332, 64},
        {336, 2147483647}, {340, 65535}, {344, 65535}, {384, 132}, {604, 2048}, {632, 65536},
        {720, 1},
    };
    static const struct { int offset; size_t value; } sizes[] = {
        {296, 49152}, {624, 233472}, {672, 232448},
    };
    size_t memory = room();
    int version[2] = {capability(0), capability(1)};
    memset(properties, 0, 1008);
    strcpy(properties, NAME);
    memcpy(properties + 288, &memory, sizeof memory);
    memcpy(properties + 360, version, sizeof version);
    for (int i = 0; i < sizeof fields / sizeof *fields; i++)
        memcpy(properties + fields[i].offset, &fields[i].value, sizeof(int));
    for (int i = 0; i < sizeof sizes / sizeof *sizes; i++)
        memcpy(properties + sizes[i].offset, &sizes[i].value, sizeof(size_t));
    return SUCCESS;
}
int cudaDeviceGetAttribute(int *value, int attribute, int device)
{
    *value = attribute == 75 ? capability(0) : attribute == 76 ? capability(1)
        : attribute == 16 ? 132 : attribute == 1 ? 1024 : 1;
    return SUCCESS;
}

int cudaMalloc(void **address, size_t bytes)
{
    int error = forbidden();
    if (error)
        return error;
    pthread_mutex_lock(&lock);
    if (used + bytes > room() || posix_memalign(address, 256, bytes ? bytes : 1))
        error = OUT_OF_MEMORY;
    else {
        memset(*address, 0, bytes);
        used += malloc_usable_size(*address);
        most = used > most ? used : most;
    }
    pthread_mutex_unlock(&lock);
    return error;
}
int cudaFree(void *address)
{
    pthread_mutex_lock(&lock);
    if (address)
        used -= malloc_usable_size(address);
    pthread_mutex_unlock(&lock);
    free(address);
    return SUCCESS;
}
int cudaHostAlloc(void **address, size_t bytes, unsigned flags)
{
    int error = forbidden();
    if (error)
        return error;
    return posix_memalign(address, 256, bytes ? bytes : 1) ? OUT_OF_MEMORY : SUCCESS;
}
int cudaMallocHost(void **address, size_t bytes) { return cudaHostAlloc(address, bytes, 0); }
int cudaFreeHost(void *address) { free(address); return SUCCESS; }
int cudaMemGetInfo(size_t *left, size_t *total)
{
    *total = room();
    *left = *total > used ? *total - used : 0;
    return SUCCESS;
}

int cudaMemcpy(void *to, const void *from, size_t bytes, int kind)
{
    int error = forbidden();
    if (!error)
        memmove(to, from, bytes);
    return error;
}
int cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, void *stream)
{
    memmove(to, from, bytes);
    return SUCCESS;
}
int cudaMemset(void *to, int value, size_t bytes) { memset(to, value, bytes); return SUCCESS; }
int cudaMemsetAsync(void *to, int value, size_t bytes, void *stream)
{
    memset(to, value, bytes);
    return SUCCESS;
}
/* cudaPointerAttributes: the type 2 is device memory. */
int cudaPointerGetAttributes(int *attributes, const void *address)
{
    memset(attributes, 0, 88);
    attributes[0] = 2;
    return SUCCESS;
}

int cudaStreamCreate(void **stream) { *stream = malloc(8); return SUCCESS; }
int cudaStreamCreateWithFlags(void **stream, unsigned flags) { return cudaStreamCreate(stream); }
int cudaStreamDestroy(void *stream) { free(stream); return SUCCESS; }
int cudaEventCreate(void **event) { *event = malloc(8); return SUCCESS; }
int cudaEventCreateWithFlags(void **event, unsigned flags) { return cudaEventCreate(event); }
int cudaEventDestroy(void *event) { free(event); return SUCCESS; }
int cudaDeviceSynchronize(void) { return forbidden(); }
int cudaStreamSynchronize(void *stream) { return forbidden(); }

int cudaStreamBeginCapture(void *stream, int mode)
{
    if (capturing)
        return CAPTURE_FORBIDS;
    capturing = 1;
    captures++;
    return SUCCESS;
}
int cudaStreamEndCapture(void *stream, void **graph)
{
    int lost = capturing == 2;
    capturing = 0;
    broken += lost;
    *graph = lost ? 0 : malloc(8);
    return lost ? CAPTURE_INVALID : SUCCESS;
}
int cudaStreamIsCapturing(void *stream, int *status) { *status = capturing; return SUCCESS; }
int cudaGraphInstantiate(void **executable) { *executable = malloc(8); return SUCCESS; }
int cudaGraphDestroy(void *graph) { free(graph); return SUCCESS; }
int cudaGraphExecDestroy(void *executable) { free(executable); return SUCCESS; }
int cudaGraphLaunch(void *executable, void *stream) { replays++; return SUCCESS; }

int cudaLaunchKernel(void) { return launch(); }
int cudaLaunchKernelExC(void) { return launch(); }
int cudaLaunchCooperativeKernel(void) { return launch(); }
int __cudaLaunchKernel(void) { return launch(); }
int cudaPeekAtLastError(void) { return last_error; }
int cudaGetLastError(void)
{
    int error = last_error;
    last_error = SUCCESS;
    return error;
}
void **__cudaRegisterFatBinary(void *binary) { static void *handle; return &handle; }

static const struct { int code; const char *name, *text; } errors[] = {
    {SUCCESS, "cudaSuccess", "no error"},
    {OUT_OF_MEMORY, "cudaErrorMemoryAllocation", "out of memory"},
    {BUSY, "cudaErrorDevicesUnavailable", "CUDA-capable device(s) is/are busy or unavailable"},
    {NO_DEVICE, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {NO_KERNELS, "cudaErrorNoKernelImageForDevice",
        "no kernel image is available for execution on the device"},
    {CAPTURE_FORBIDS, "cudaErrorStreamCaptureUnsupported",
        "operation not permitted when stream is capturing"},
    {CAPTURE_INVALID, "cudaErrorStreamCaptureInvalidated",
        "operation failed due to a previous error during capture"},
};
const char *cudaGetErrorName(int code)
{
    for (int i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code)
            return errors[i].name;
    return "cudaErrorUnknown";
}
const char *cudaGetErrorString(int code)
{
    for (int i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code)
            return errors[i].text;
    return "unknown error";
}
#endif

#if defined PART_CUBLAS || defined PART_CUBLASLT
static long handle;
int cublasCreate_v2(void **created) { *created = &handle; return 0; }
int cublasGetMathMode(void *of, int *mode) { *mode = 0; return 0; }
const char *cublasGetStatusName(int status) { return "CUBLAS_STATUS"; }
const char *cublasGetStatusString(int status) { return "status"; }
int cublasLtCreate(void **created) { *created = &handle; return 0; }
int cublasLtMatmulDescCreate(void **created) { *created = &handle; return 0; }
int cublasLtMatmulPreferenceCreate(void **created) { *created = &handle; return 0; }
int cublasLtMatrixLayoutCreate(void **created) { *created = &handle; return 0; }
int cublasLtMatrixTransformDescCreate(void **created) { *created = &handle; return 0; }
#endif

#ifdef PART_CUDNN
static long handle;
unsigned long cudnnGetVersion(void) { return 91400; }
unsigned long cudnnGetCudartVersion(void) { return 13000; }
int cudnnGetProperty(int which, int *value)
{
    static const int version[] = {9, 14, 0};
    *value = version[which];
    return 0;
}
const char *cudnnGetErrorString(int status) { return "CUDNN_STATUS_NOT_SUPPORTED"; }
int cudnnCreate(void **created) { *created = &handle; return 0; }
int cudnnCreateActivationDescriptor(void **created) { *created = &handle; return 0; }
int cudnnCreateConvolutionDescriptor(void **created) { *created = &handle; return 0; }
int cudnnCreateDropoutDescriptor(void **created) { *created = &handle; return 0; }
int cudnnCreateFilterDescriptor(void **created) { *created = &handle; return 0; }
int cudnnCreateLRNDescriptor(void **created) { *created = &handle; return 0; }
int cudnnCreatePoolingDescriptor(void **created) { *created = &handle; return 0; }
int cudnnCreateRNNDataDescriptor(void **created) { *created = &handle; return 0; }
int cudnnCreateRNNDescriptor(void **created) { *created = &handle; return 0; }
int cudnnCreateReduceTensorDescriptor(void **created) { *created = &handle; return 0; }
int cudnnCreateTensorDescriptor(void **created) { *created = &handle; return 0; }
int cudnnGetReductionIndicesSize(void *a, void *b, void *c, void *d, size_t *size)
{
    *size = 0;
    return 0;
}
int cudnnGetReductionWorkspaceSize(void *a, void *b, void *c, void *d, size_t *size)
{
    *size = 0;
    return 0;
}
/* The backend API, by which convolutions are planned: one engine, which needs no workspace. */
int cudnnBackendCreateDescriptor(int type, void **created) { *created = calloc(1, 64); return 0; }
int cudnnBackendDestroyDescriptor(void *descriptor) { free(descriptor); return 0; }
int cudnnBackendGetAttribute(
    void *descriptor, int attribute, int type, int64_t requested, int64_t *count, void *values)
{
    enum { INT64 = 3, DESCRIPTOR = 15, INT32 = 23 };
    if (count)
        *count = type == DESCRIPTOR || type == INT64 || type == INT32;
    if (values && requested && type == INT64)
        *(int64_t *)values = 0;
    if (values && requested && type == INT32)
        *(int32_t *)values = 0;
    return 0;
}
#endif
