/* powerinfer: sparse large-language-model inference. Tokens in, logits out.
 *
 * - Objects: opaque handles. pi_file (a GGUF or PWRI container), pi_model (immutable weights),
 *   pi_context (KV cache, scratch memory and threads for running one model). X_free(NULL) is fine.
 *   A context keeps its model alive, a model its file: handles may be freed in any order.
 * - Errors: a fallible function returns NULL, or an error owned by the caller (pi_error_free).
 *   Results go through the last parameter and are untouched on failure. Nothing aborts, exits or
 *   prints.
 * - Threads: `const` handles may be shared between threads; a non-const handle belongs to one
 *   caller at a time. pi_context_cancel is the one call that may reach a context while another
 *   thread computes.
 * - Units: token ids, positions and sequence ids count from 0. Matrices are row-major. Times are
 *   nanoseconds, sizes are bytes, strings that come with a length are not terminated.
 * - Options: every struct that goes in or comes out begins with struct_size = sizeof(the struct),
 *   set by the caller; pi_*_options_init fills in size and defaults.
 */
#ifndef POWERINFER_H
#define POWERINFER_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define PI_API __attribute__((visibility("default")))
#else
#define PI_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define PI_ABI_VERSION 1u
/* The PI_ABI_VERSION that the library was built with. */
PI_API uint32_t pi_abi_version(void);
/* Name of the CPU operators in use: "scalar", "avx2", "avx512", "neon", "neon-dotprod". */
PI_API const char* pi_cpu_name(void);

/* ---- errors ---- */

typedef struct pi_error pi_error;
typedef uint32_t pi_error_kind;
#define PI_ERROR_IO               1u /* the system refused: missing file, permission, read error */
#define PI_ERROR_FORMAT           2u /* the file contradicts its own format */
#define PI_ERROR_UNSUPPORTED      3u /* valid, but this build cannot serve it */
#define PI_ERROR_INVALID_ARGUMENT 4u
#define PI_ERROR_CONTEXT_FULL     5u /* the KV cache cannot hold the batch; nothing was computed */
#define PI_ERROR_OUT_OF_MEMORY    6u
#define PI_ERROR_CANCELLED        7u
#define PI_ERROR_INTERNAL         8u /* a bug in the library */
#define PI_ERROR_DEVICE           9u /* no usable GPU, or it failed */

PI_API pi_error_kind pi_error_get_kind(const pi_error* error);
/* Valid until the error is freed. */
PI_API const char* pi_error_get_message(const pi_error* error);
PI_API void pi_error_free(pi_error* error);

/* ---- files ---- */

typedef struct pi_file pi_file;

typedef uint32_t pi_meta_type;
#define PI_META_U8     0u
#define PI_META_I8     1u
#define PI_META_U16    2u
#define PI_META_I16    3u
#define PI_META_U32    4u
#define PI_META_I32    5u
#define PI_META_F32    6u
#define PI_META_BOOL   7u
#define PI_META_STRING 8u
#define PI_META_U64    10u
#define PI_META_I64    11u
#define PI_META_F64    12u

typedef struct {
    uint32_t struct_size;
    uint32_t version;   /* of the container: 2 or 3 */
    uint32_t is_sparse; /* 1: magic PWRI, 0: magic GGUF */
    uint32_t alignment;
    uint64_t file_bytes;
    uint64_t data_offset; /* where tensor data begins */
    uint64_t n_metadata;
    uint64_t n_tensors;
} pi_file_info;

typedef struct {
    uint32_t struct_size;
    pi_meta_type type; /* of the elements */
    uint32_t is_array;
    uint32_t reserved;
    uint64_t n; /* elements; 1 for a scalar */
    const char* key;
    size_t key_len;
} pi_meta_info;

typedef struct {
    uint32_t struct_size;
    uint32_t dtype; /* GGML type id */
    uint32_t n_dims;
    uint32_t reserved;
    uint64_t ne[4];  /* the length of a row first; unused dimensions are 1 */
    uint64_t offset; /* from the start of the file */
    uint64_t n_bytes;
    const char* name;
    size_t name_len;
} pi_tensor_info;

/* Maps and checks a container; weights are not read. Returned strings live as long as the file. */
PI_API pi_error* pi_file_open(const char* path, pi_file** out);
/* The same for a container in memory, which is copied. */
PI_API pi_error* pi_file_from_bytes(const void* bytes, size_t n, pi_file** out);
PI_API void pi_file_free(pi_file* file);
PI_API void pi_file_get_info(const pi_file* file, pi_file_info* out);
/* Index of a metadata key, -1 when the file has none. */
PI_API int64_t pi_file_find_metadata(const pi_file* file, const char* key);
PI_API pi_error* pi_file_get_metadata(const pi_file* file, uint64_t index, pi_meta_info* out);
/* Element j of an integer or boolean value (u64 as its two's complement). */
PI_API pi_error* pi_file_get_integer(const pi_file* file, uint64_t index, uint64_t j, int64_t* out);
/* Element j of any numeric value. */
PI_API pi_error* pi_file_get_number(const pi_file* file, uint64_t index, uint64_t j, double* out);
PI_API pi_error* pi_file_get_string(
    const pi_file* file, uint64_t index, uint64_t j, const char** out, size_t* out_len
);
PI_API pi_error* pi_file_get_tensor(const pi_file* file, uint64_t index, pi_tensor_info* out);

/* ---- element types ---- */

typedef struct {
    uint32_t struct_size;
    uint32_t block_elements; /* consecutive elements of a row that share one block */
    uint32_t block_bytes;
    uint32_t is_weight; /* 1 when the kernels can multiply by it */
    const char* name;   /* "q4_0" */
} pi_dtype_info;

/* Fails with PI_ERROR_UNSUPPORTED for an unknown id. */
PI_API pi_error* pi_dtype_get_info(uint32_t dtype, pi_dtype_info* out);
/* Rounds n floats (a multiple of block_elements) to `out` (n / block_elements * block_bytes bytes).
 */
PI_API pi_error* pi_quantize_row(uint32_t dtype, const float* x, size_t n, void* out);
/* The inverse: n floats from their blocks. */
PI_API pi_error* pi_dequantize_row(uint32_t dtype, const void* row, size_t n, float* out);

/* ---- devices ---- */

typedef struct {
    uint32_t struct_size;
    uint32_t n_devices;   /* of this machine */
    uint64_t total_bytes; /* of memory */
    uint64_t free_bytes;
    const char* api; /* "cuda", "hip", or "emulated" in tests */
    char name[256];
    char pci_bus_id[32]; /* "00000000:3b:00.0": domain, bus, device, function, as NVML wants it */
} pi_device_info;

/* What the driver says of a GPU. Models use number 0; CUDA_VISIBLE_DEVICES makes another one the
 * first. Fails with PI_ERROR_DEVICE where there is none, or the library was built without. */
PI_API pi_error* pi_device_get_info(uint32_t index, pi_device_info* out);

/* ---- models ---- */

typedef struct pi_model pi_model;
typedef struct pi_placement pi_placement;

/* How feed-forward layers are computed. */
typedef uint32_t pi_strategy;
#define PI_STRATEGY_DEFAULT                                                                        \
    0u /* predictor if the file has one; else exact for PWRI, dense for GGUF */
#define PI_STRATEGY_DENSE 1u /* reads every neuron */
#define PI_STRATEGY_EXACT 2u /* gate (ungated: up) first, the rest of a neuron only if it fires */
#define PI_STRATEGY_PREDICTOR                                                                      \
    3u                      /* only neurons that the predictor selects, gate first among them */
#define PI_STRATEGY_AUTO 4u /* what is fastest by measurement: see "the strategy auto" */

/* Whether weights are copied from the mapped file into memory with large pages, where sparse rows
 * cost less to find. The mapped pages are then given back: resident memory is that of the file. */
typedef uint32_t pi_repack;
#define PI_REPACK_AUTO   0u /* where it pays and memory allows: see pi_model_info.repack_reason */
#define PI_REPACK_ALWAYS 1u /* fails with PI_ERROR_OUT_OF_MEMORY rather than not */
#define PI_REPACK_NEVER  2u /* keeps everything mapped */

typedef uint32_t pi_log_level;
#define PI_LOG_ERROR 1u
#define PI_LOG_WARN  2u
#define PI_LOG_INFO  3u
#define PI_LOG_DEBUG 4u
/* Called during pi_model_load only, on the calling thread; must not unwind. */
typedef void (*pi_log_fn)(void* user, pi_log_level level, const char* message);
/* Bytes made ready so far and in all; return 0 to stop the load with PI_ERROR_CANCELLED. Called
 * while the file is read in, so only with `prefetch`, `lock_memory` or when weights are copied. */
typedef uint32_t (*pi_progress_fn)(void* user, uint64_t done, uint64_t total);

typedef struct {
    uint32_t struct_size;
    pi_strategy strategy;
    uint32_t prefetch;      /* 1: read the whole file during load instead of on first use */
    uint32_t lock_memory;   /* 1: lock the weights in memory (implies prefetch) */
    float sparse_threshold; /* for `predictor`, and `auto` with a predictor; NaN (default): the
                               file's, or 0 */
    pi_repack repack;       /* containers from memory are never copied a second time */
    pi_log_fn log;          /* may be NULL */
    void* log_user;
    pi_progress_fn progress; /* may be NULL */
    void* progress_user;
    /* What goes to the GPU, planned for this file, this strategy and contexts of the sizes it
     * names: see pi_file_place. NULL: nothing, the processor computes all. The model may have one
     * context at a time then. */
    const pi_placement* placement;
} pi_model_options;

typedef struct {
    uint32_t struct_size;
    pi_strategy strategy; /* resolved: never PI_STRATEGY_DEFAULT; AUTO only where something is left
                             to decide, else DENSE */
    uint32_t n_layers;
    uint32_t dim;        /* width of the residual stream */
    uint32_t hidden_dim; /* feed-forward neurons of a layer */
    uint32_t n_heads;
    uint32_t n_kv_heads;
    uint32_t head_dim;
    uint32_t vocab_size;
    uint32_t context_length; /* trained */
    uint32_t is_sparse;      /* the file is PWRI */
    uint32_t has_predictor;
    uint32_t is_gated;
    float sparse_threshold;
    float fatrelu_threshold; /* 0 for a plain ReLU */
    uint32_t reserved;
    uint64_t weight_bytes; /* of tensors in use */
    uint64_t ffn_bytes;    /* of these: gate, up and down */
    uint64_t predictor_bytes;
    const char* architecture;  /* "llama", "bamboo", "falcon", "opt" */
    const char* activation;    /* "relu", "drelu", "fatrelu", "silu" */
    uint64_t repacked_bytes;   /* of tensor data copied into large pages; 0: not copied */
    uint64_t repack_ns;        /* that the copy took */
    const char* repack_reason; /* why nothing was copied, else ""; lives as long as the model */
    const char* device_name;   /* of the GPU that has a part of the model, else ""; likewise */
    uint64_t device_bytes;     /* of weights on it */
} pi_model_info;

PI_API void pi_model_options_init(pi_model_options* options);
/* Shares `file`, which may be freed afterwards. `options` may be NULL. With a placement it fails
 * with PI_ERROR_DEVICE without a GPU, with PI_ERROR_OUT_OF_MEMORY where the GPU has less free
 * memory than was planned, or nothing fits beside its own needs, and with PI_ERROR_UNSUPPORTED for
 * PI_STRATEGY_AUTO. */
PI_API pi_error* pi_model_load(
    const pi_file* file, const pi_model_options* options, pi_model** out
);
PI_API void pi_model_free(pi_model* model);
PI_API void pi_model_get_info(const pi_model* model, pi_model_info* out);

/* ---- the strategy auto ----
 *
 * Each layer uses its predictor or does not, for all batches alike, as its plan says; the rest is
 * decided for each layer and batch, and changes no bit: dense or exact, rows listed or masked.
 * Two measurements, each about 0.1 s, that a caller makes once and may keep: contexts of models
 * with PI_STRATEGY_AUTO want both. Contexts whose layer plans use the same predictors give the same
 * bits, whatever the rates and the shares. Both fail with PI_ERROR_INVALID_ARGUMENT for other
 * models. */

/* Bytes per second, counted as if the stage had read its matrices whole. "Test" has the gate matrix
 * (ungated: up), "rest" the others, "predict" fc1 and fc2. "Low" and "high": with 1/8 and 5/8 of
 * the neurons listed (test) or not zero (rest). */
typedef struct {
    double predict; /* 0 without a predictor */
    double test_all;
    double test_listed_low;
    double test_listed_high;
    double rest_all_low;
    double rest_all_high;
    double rest_listed_low;
    double rest_listed_high;
} pi_stage_rates;

typedef struct {
    uint32_t struct_size;
    uint32_t n_threads;  /* that were measured with */
    pi_stage_rates one;  /* for one token */
    pi_stage_rates many; /* for 16 tokens */
} pi_rates;

typedef struct {
    uint32_t struct_size;
    uint32_t uses_predictor;
    double active_share;    /* of the neurons, for one token; where decisions begin */
    double candidate_share; /* likewise; 0 without a predictor */
} pi_layer_plan;

/* Threads that a context has by default: one per physical core that this process may use. */
PI_API uint32_t pi_default_threads(void);
/* A number for everything that decides rates and shares but the processor: tensors, samples of
 * their data, thresholds and the build of this library. */
PI_API uint64_t pi_model_fingerprint(const pi_model* model);
/* Times the stages of a feed-forward on the model's own weights. n_threads 0: the default. */
PI_API pi_error* pi_model_measure_rates(const pi_model* model, uint32_t n_threads, pi_rates* out);
/* Computes a few tokens to see which neurons fire, and decides which layers use their predictor.
 * `out` has n_layers elements, each with its struct_size. */
PI_API pi_error* pi_model_plan_layers(
    const pi_model* model, const pi_rates* rates, pi_layer_plan* out
);

/* ---- contexts ---- */

typedef struct pi_context pi_context;

typedef struct {
    uint32_t struct_size;
    uint32_t
        n_ctx; /* tokens that the KV cache holds, all sequences together; 0: the trained length */
    uint32_t n_sequences; /* sequence ids are 0 .. n_sequences-1; default 1 */
    uint32_t n_batch;     /* tokens computed together; longer batches are cut; default 512 */
    uint32_t n_threads;   /* 0: one per physical core that this process may use */
    uint32_t kv_dtype;    /* GGML id: 1 = F16 (default), 0 = F32 */
    uint32_t audit; /* 1: in layers that use a predictor, also compute every neuron to count misses
                       (slow) */
    /* Bits that activations are rounded to before they meet quantised weights: 16 (default), which
     * keeps logits right to the weights' own rounding, or 8, which is faster for prompts and for
     * many sequences. */
    uint32_t activation_bits;
    const pi_rates* rates; /* for `auto` only, which wants both; copied. Of as many threads */
    const pi_layer_plan* layer_plans; /* (n_layers,) */
    uint32_t count_neurons; /* 1: keep pi_context_get_neuron_counts, 8 bytes a neuron and layer */
    /* With neurons on a GPU: after so many tokens those that fired most lately get the places of
     * those that did not, up to 64 a layer; 0 (default): all stay where they were placed. They are
     * copied beside the steps, and before a step those that are there take their places: results
     * change by the rounding of sums, there, and which step it is depends on the bus. */
    uint32_t adapt_every;
    uint32_t time_device; /* with a part of the model on a GPU, 1: keep pi_stats.device_ns and what
                             follows it, for about 4 microseconds a layer and step; default 0 */
    uint32_t reserved;
} pi_context_options;

/* One unit of work: n_tokens tokens, any mix of sequences. Tokens of one sequence stand in order,
 * and their positions continue that sequence: first its length, then one more each. */
typedef uint8_t pi_output;
#define PI_OUTPUT_NONE   0u
#define PI_OUTPUT_LOGITS 1u /* vocab_size floats */
#define PI_OUTPUT_HIDDEN 2u /* dim floats: the normed last residual, for embeddings */
typedef struct {
    uint32_t struct_size;
    uint32_t n_tokens;
    const int32_t* tokens;    /* (n_tokens,) */
    const int32_t* positions; /* (n_tokens,) */
    const int32_t* sequences; /* (n_tokens,) */
    const pi_output* outputs; /* (n_tokens,) bits; NULL: logits of the last token only */
} pi_batch;

typedef struct {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t n_decode_calls;
    uint64_t n_tokens;
    uint64_t weight_bytes_read; /* weight bytes that the host had to move, each row once per
                                   internal batch */
    uint64_t kv_bytes_read;
    uint64_t embed_ns;
    uint64_t attention_ns;
    uint64_t predictor_ns;
    uint64_t ffn_ns;
    uint64_t output_ns;
    uint64_t neurons_total;     /* neurons x layers x tokens */
    uint64_t neurons_candidate; /* of these: tested (gate, or ungated up, computed) */
    uint64_t neurons_active;    /* of these: non-zero, so that the down row was needed */
    uint64_t audit_active;      /* audit only: neurons that a dense layer would find non-zero ... */
    uint64_t audit_missed;      /* ... and the predictor did not select */
    uint64_t kv_bytes;          /* allocated for the cache, on the host */
    uint64_t scratch_bytes;     /* allocated beside it */
    /* With a GPU. */
    uint64_t device_bytes;          /* allocated on it, for cache and scratch */
    uint64_t device_bytes_read;     /* weight bytes that the GPU had to move, likewise */
    uint64_t device_neurons_active; /* of neurons_active */
    uint64_t neurons_replaced;      /* see pi_context_options.adapt_every */
    uint64_t bus_bytes;             /* between host and GPU */
    uint64_t device_wait_ns;        /* that the host waited for the GPU */
    uint64_t host_share_ns;         /* that the host computed its share of layers on the GPU */
    /* With pi_context_options.time_device, else 0. */
    uint64_t device_ns;       /* that the GPU computed or copied */
    uint64_t device_share_ns; /* of this: its own share of layers that the host has a share of */
    uint64_t overlap_ns;      /* that both computed their shares */
} pi_stats;

typedef struct {
    uint32_t struct_size;
    pi_strategy strategy; /* how the layer would compute one token now: never DEFAULT or AUTO */
    uint64_t neurons_total;
    uint64_t neurons_candidate;
    uint64_t neurons_active;
} pi_layer_stats;

PI_API void pi_context_options_init(pi_context_options* options);
PI_API pi_error* pi_context_new(
    const pi_model* model, const pi_context_options* options, pi_context** out
);
PI_API void pi_context_free(pi_context* context);
/* All or nothing: on any error the sequences are as long as before. */
PI_API pi_error* pi_context_decode(pi_context* context, const pi_batch* batch);
/* Result row of batch token `i` of the last decode, valid until the next call with this context as
 * a non-const argument. */
PI_API pi_error* pi_context_get_logits(const pi_context* context, uint32_t i, const float** out);
PI_API pi_error* pi_context_get_hidden(const pi_context* context, uint32_t i, const float** out);
/* Stops the running decode, or the next one, within one layer. Stays set until it is cleared. */
PI_API void pi_context_cancel(const pi_context* context);
PI_API void pi_context_clear_cancel(pi_context* context);

/* Tokens in a sequence, in `out`. */
PI_API pi_error* pi_context_sequence_length(
    const pi_context* context, uint32_t sequence, uint32_t* out
);
/* Keeps the first n tokens of a sequence; 0 removes it. */
PI_API pi_error* pi_context_sequence_truncate(pi_context* context, uint32_t sequence, uint32_t n);
/* `target`, which must be empty, becomes the first n tokens of `source`; memory is shared. */
PI_API pi_error* pi_context_sequence_fork(
    pi_context* context, uint32_t source, uint32_t target, uint32_t n
);
/* Free room in the KV cache, in tokens (whole pages). */
PI_API uint32_t pi_context_room(const pi_context* context);

/* Counters since creation or the last reset. */
PI_API void pi_context_get_stats(const pi_context* context, pi_stats* out);
PI_API pi_error* pi_context_get_layer_stats(
    const pi_context* context, uint32_t layer, pi_layer_stats* out
);
/* For each neuron of a layer the number of tokens that needed it: what it adds to the down
 * projection was not zero. `out` gets (hidden_dim,) counts, valid until the next call with this
 * context as a non-const argument; their sum is neurons_active of the layer. With a predictor,
 * neurons that it did not select are not needed. Only for contexts made with count_neurons. */
PI_API pi_error* pi_context_get_neuron_counts(
    const pi_context* context, uint32_t layer, const uint64_t** out
);
/* Sets counters and neuron counts to zero. */
PI_API void pi_context_reset_stats(pi_context* context);

/* ---- placement ----
 *
 * What of a model goes to a device with little memory, planned in exact bytes before anything is
 * allocated. Needs neither a device nor the weights. Placed in this order, until the first that
 * does not fit: of each layer attention, norms and KV cache together; predictors, if the strategy
 * reads them; the output;
 * groups of neurons, those with most activations first. A larger budget only adds to a plan, and no
 * plan is larger than its budget. */

typedef struct {
    uint32_t struct_size;
    uint32_t n_ctx;       /* as in pi_context_options, like the next three */
    uint32_t n_sequences; /* default 1 */
    uint32_t n_batch;     /* default 512 */
    uint32_t kv_dtype;    /* default 1 = F16 */
    /* Neurons placed together; 0: the largest power of two that divides hidden_dim, at most 256.
     * In GGUF files, all of a layer. */
    uint32_t group;
    uint64_t vram_budget; /* bytes, with the device's own needs; see pi_default_vram_budget */
    /* How often each neuron was active, (n_count_layers, n_count_neurons), the first layer's
     * first; copied. NULL: unknown, neurons are placed in file order, evenly over the layers. */
    const double* counts;
    uint32_t n_count_layers;
    uint32_t n_count_neurons;
    double counted_tokens; /* that the counts come from; 0: as many as the largest count */
    double active_share;   /* of the neurons, for one token, without counts; default 0.1 */
    /* A GPU-index file (*.generated.gpuidx) that says which neurons; NULL: they are chosen. */
    const char* gpu_index;
    /* That the model will be loaded with, and only that: `dense` and `exact` read no predictor, so
     * that it gets no room. */
    pi_strategy strategy;
    uint32_t reserved;
} pi_placement_options;

/* What became of pi_placement_options.gpu_index. */
typedef uint32_t pi_gpu_index_state;
#define PI_GPU_INDEX_NONE    0u /* none was given */
#define PI_GPU_INDEX_USED    1u /* made for this model and these counts, if any were given */
#define PI_GPU_INDEX_FOREIGN 2u /* used; it does not say what it was made for */
#define PI_GPU_INDEX_STALE   3u /* made for another model or other counts: neurons were chosen */

typedef uint32_t pi_part;
#define PI_PART_ATTENTION 0u /* with its norms */
#define PI_PART_KV_CACHE  1u
#define PI_PART_PREDICTOR 2u
#define PI_PART_FFN_NORM  3u /* with the bias of the down projection */
#define PI_PART_OUTPUT    4u /* with its norm; of a tied one a copy */
#define PI_PART_NEURONS   5u /* rows of gate, up and down, and the bias of up */
#define PI_PART_EMBEDDING 6u /* always on the host */
#define PI_N_PARTS        7u

typedef struct {
    uint32_t struct_size;
    uint32_t n_layers;
    uint32_t hidden_dim;
    uint32_t group;
    uint32_t has_counts;
    pi_gpu_index_state gpu_index;
    uint64_t vram_budget;
    uint64_t reserve;       /* the device's own needs: context, workspaces, scratch */
    uint64_t device_bytes;  /* planned, with the reserve; 0 if nothing fits beside it */
    uint64_t neuron_budget; /* what everything else left for neurons */
    uint64_t n_neurons;     /* on the device, all layers */
    /* Of all activations, those of neurons on the device; without counts the share of the neurons,
     * as if all fired equally often. */
    double activation_share;
    pi_strategy strategy; /* resolved: never PI_STRATEGY_DEFAULT */
    uint32_t reserved;
} pi_placement_info;

typedef struct {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t n_bytes;
    uint64_t device_bytes;
    /* Expected bytes for one token. Dense parts count whole, neurons as often as they fire, the KV
     * cache as if it were full. */
    double device_read;
    double host_read;
} pi_placement_part;

typedef struct {
    uint32_t struct_size;
    uint32_t n_neurons;                /* on the device */
    uint64_t device_bytes[PI_N_PARTS]; /* by pi_part; of the output and the embedding 0 */
    double activation_share;           /* as in pi_placement_info, of this layer */
} pi_placement_layer;

/* The budget for a device with so much free memory: all but a reserve of 256 MiB for its display
 * and its driver. */
PI_API uint64_t pi_default_vram_budget(uint64_t free_bytes);
PI_API void pi_placement_options_init(pi_placement_options* options);
/* Plans for the model of `file`. Fails with PI_ERROR_INVALID_ARGUMENT for options that do not fit
 * the model, and for an index whose neurons do not fit the budget; otherwise as pi_file_open, for
 * the index, and pi_model_load. A stale index is no error: see pi_placement_info.gpu_index. */
PI_API pi_error* pi_file_place(
    const pi_file* file, const pi_placement_options* options, pi_placement** out
);
PI_API void pi_placement_free(pi_placement* placement);
PI_API void pi_placement_get_info(const pi_placement* placement, pi_placement_info* out);
PI_API pi_error* pi_placement_get_part(
    const pi_placement* placement, pi_part part, pi_placement_part* out
);
PI_API pi_error* pi_placement_get_layer(
    const pi_placement* placement, uint32_t layer, pi_placement_layer* out
);
/* The neurons of a layer on the device, ascending; they live as long as the placement. */
PI_API pi_error* pi_placement_get_neurons(
    const pi_placement* placement, uint32_t layer, const int32_t** out, uint32_t* out_len
);
/* Writes the neurons as a GPU-index file, with fingerprints of the model and the counts in keys of
 * our own. The file appears under its name only when it is whole. */
PI_API pi_error* pi_placement_save_gpu_index(const pi_placement* placement, const char* path);

/* ---- measuring ---- */

/* Plain read bandwidth of this machine in bytes per second: n_threads sum `n_bytes` of fresh
 * memory; the best of several passes. */
PI_API pi_error* pi_measure_read_bandwidth(uint32_t n_threads, size_t n_bytes, double* out);
/* Computes dot products (n_rows of them) of a random matrix of `dtype` with one vector on one
 * thread, `axpy` = 1: the transposed product instead; bytes of weights per second, the best of
 * several passes. */
PI_API pi_error* pi_measure_kernel(
    uint32_t dtype, uint32_t axpy, uint32_t n_rows, uint32_t n_cols, double* out
);

#ifdef __cplusplus
}
#endif

#endif
