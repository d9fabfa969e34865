// The fused operators' kernels. T is what activations are stored in, float or bfloat16; arithmetic is float throughout.
// Sums are taken in an order that the shapes alone decide: no atomics, so that a run can be repeated to the bit on one device.

#include <cuda_bf16.h>
#include <stdint.h>

typedef __nv_bfloat16 bf16;

__device__ __forceinline__ float get(const float *p, size_t i) { return p[i]; }
__device__ __forceinline__ float get(const bf16 *p, size_t i) { return __bfloat162float(p[i]); }
__device__ __forceinline__ void put(float *p, size_t i, float x) { p[i] = x; }
__device__ __forceinline__ void put(bf16 *p, size_t i, float x) { p[i] = __float2bfloat16(x); }

// As `mask_bits` in ops/mod.rs.
__device__ __forceinline__ uint32_t mask_bits(uint64_t key, size_t index) {
    uint32_t x = (uint32_t)index + (uint32_t)key;
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x ^= (uint32_t)(key >> 32);
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

// Inverted dropout; a threshold of 0 keeps everything.
struct Drop {
    uint64_t key;
    uint32_t threshold;
    float scale;
    __device__ __forceinline__ float operator()(float x, size_t index) const {
        if (threshold == 0) return x;
        return mask_bits(key, index) < threshold ? 0.0f : x * scale;
    }
};

__device__ __forceinline__ float warp_sum(float x) {
    for (int offset = 16; offset > 0; offset >>= 1) x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
}

__device__ __forceinline__ float warp_max(float x) {
    for (int offset = 16; offset > 0; offset >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
    return x;
}

#define EACH(i, n) \
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (size_t)gridDim.x * blockDim.x)

// ---- casts and dropout

template <typename T> __device__ void cast(const float *x, T *y, size_t n) {
    EACH(i, n) put(y, i, x[i]);
}

template <typename T> __device__ void dropout(const T *x, T *y, size_t n, Drop drop) {
    EACH(i, n) put(y, i, drop(get(x, i), i));
}

// ---- linear: what comes after the product

struct Biases {
    const float *part[3];
};

// y [rows, n] += bias, which lies in parts of `width` columns each.
template <typename T> __device__ void add_bias(T *y, size_t n, size_t columns, size_t width, Biases biases) {
    EACH(i, n) {
        size_t column = i % columns, part = column / width;
        put(y, i, get(y, i) + biases.part[part][column - part * width]);
    }
}

// As `add_bias`, with GELU of the sum in `out`.
template <typename T> __device__ void add_bias_gelu(T *y, T *out, size_t n, size_t columns, const float *bias) {
    EACH(i, n) {
        float x = get(y, i) + bias[i % columns];
        put(y, i, x);
        put(out, i, 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)));
    }
}

template <typename T> __device__ void gelu_backward(const T *dy, const T *x, T *dx, size_t n) {
    EACH(i, n) {
        float v = get(x, i);
        float phi = 0.5f * (1.0f + erff(v * 0.70710678118654752f));
        float density = 0.39894228040143268f * expf(-0.5f * v * v);
        put(dx, i, get(dy, i) * (phi + v * density));
    }
}

// One row of partial sums of the columns of x [rows, columns] for each blockIdx.y: y [gridDim.y, columns].
template <typename T> __device__ void column_sums(const T *x, float *y, size_t rows, size_t columns) {
    size_t column = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (column >= columns) return;
    float sum = 0.0f;
    for (size_t row = blockIdx.y; row < rows; row += gridDim.y) sum += get(x, row * columns + column);
    y[blockIdx.y * columns + column] = sum;
}

// ---- layer norm of dropout(x) + residual: a warp a row, the row in shared memory

extern __shared__ float shared[];

// Puts the row into `s`; mean and one over the standard deviation.
template <typename T>
__device__ __forceinline__ void normal_row(const T *x, const T *residual, size_t row, size_t width, float eps, Drop drop, float *s,
                                           float &mean, float &inverse) {
    int lane = threadIdx.x & 31;
    float sum = 0.0f;
    for (size_t i = lane; i < width; i += 32) {
        size_t at = row * width + i;
        float v = drop(get(x, at), at);
        if (residual) v += get(residual, at);
        s[i] = v;
        sum += v;
    }
    mean = warp_sum(sum) / width;
    float squares = 0.0f;
    for (size_t i = lane; i < width; i += 32) {
        float c = s[i] - mean;
        squares += c * c;
    }
    inverse = rsqrtf(warp_sum(squares) / width + eps);
}

template <typename T>
__device__ void norm(const T *x, const T *residual, const float *weight, const float *bias, T *y, size_t rows, size_t width, float eps,
                     Drop drop) {
    int warp = threadIdx.x >> 5, warps = blockDim.x >> 5, lane = threadIdx.x & 31;
    float *s = shared + warp * width;
    for (size_t row = (size_t)blockIdx.x * warps + warp; row < rows; row += (size_t)gridDim.x * warps) {
        float mean, inverse;
        normal_row(x, residual, row, width, eps, drop, s, mean, inverse);
        for (size_t i = lane; i < width; i += 32) put(y, row * width + i, (s[i] - mean) * inverse * weight[i] + bias[i]);
        __syncwarp();
    }
}

// ds is the gradient of the sum under the norm, dx that of x where dropout makes it another (else null); `partial` gets a row of
// [2 * width] a block: its part of the gradients of weight and bias.
template <typename T>
__device__ void norm_backward(const T *dy, const T *x, const T *residual, const float *weight, T *ds, T *dx, float *partial, size_t rows,
                              size_t width, float eps, Drop drop) {
    int warp = threadIdx.x >> 5, warps = blockDim.x >> 5, lane = threadIdx.x & 31;
    float *s = shared + warp * 3 * width, *dw = s + width, *db = dw + width;
    for (size_t i = lane; i < width; i += 32) dw[i] = db[i] = 0.0f;
    for (size_t row = (size_t)blockIdx.x * warps + warp; row < rows; row += (size_t)gridDim.x * warps) {
        float mean, inverse, sum = 0.0f, along = 0.0f;
        normal_row(x, residual, row, width, eps, drop, s, mean, inverse);
        // A lane meets the same columns in each loop: no other lane reads what it writes.
        for (size_t i = lane; i < width; i += 32) {
            float n = (s[i] - mean) * inverse, d = get(dy, row * width + i);
            s[i] = n;
            dw[i] += d * n;
            db[i] += d;
            sum += d * weight[i];
            along += d * weight[i] * n;
        }
        sum = warp_sum(sum) / width;
        along = warp_sum(along) / width;
        for (size_t i = lane; i < width; i += 32) {
            size_t at = row * width + i;
            float d = (get(dy, at) * weight[i] - sum - s[i] * along) * inverse;
            put(ds, at, d);
            if (dx) put(dx, at, drop(d, at));
        }
        __syncwarp();
    }
    __syncthreads();
    for (size_t i = threadIdx.x; i < 2 * width; i += blockDim.x) {
        float sum = 0.0f;
        for (int w = 0; w < warps; w++) sum += shared[w * 3 * width + width + i];
        partial[(size_t)blockIdx.x * 2 * width + i] = sum;
    }
}

// ---- attention

// x [b, s, parts * h] to y [parts, b, heads, s, h / heads], or back; only some parts, n elements from the `first` part on.
template <typename T>
__device__ void split_heads(const T *x, T *y, size_t n, size_t batch, size_t seq, size_t first, size_t parts, size_t heads, size_t depth,
                            int back) {
    EACH(i, n) {
        // i counts through the parts from the first on.
        size_t d = i % depth, rest = i / depth;
        size_t s = rest % seq;
        rest /= seq;
        size_t head = rest % heads;
        rest /= heads;
        size_t b = rest % batch, part = first + rest / batch;
        size_t j = ((b * seq + s) * parts + part) * heads * depth + head * depth + d;
        if (back) y[j] = x[i];
        else y[i] = x[j];
    }
}

// A warp a row of scores [b, heads, queries, keys], in place: soft-max over the first lengths[b] keys of scale * score + bias
// [heads, queries, keys]; `dropped` gets the same after dropout, unless it is null.
template <typename T>
__device__ void softmax(T *x, T *dropped, const float *bias, const uint32_t *lengths, size_t rows, size_t per_batch, size_t keys,
                        float scale, Drop drop) {
    int warps = blockDim.x >> 5, lane = threadIdx.x & 31;
    size_t row = (size_t)blockIdx.x * warps + (threadIdx.x >> 5);
    if (row >= rows) return;
    float *s = shared + (threadIdx.x >> 5) * keys;
    size_t length = lengths[row / per_batch];
    const float *added = bias ? bias + (row % per_batch) * keys : 0;
    float most = -INFINITY;
    for (size_t i = lane; i < length; i += 32) {
        float v = get(x, row * keys + i) * scale;
        if (added) v += added[i];
        s[i] = v;
        most = fmaxf(most, v);
    }
    most = warp_max(most);
    float sum = 0.0f;
    for (size_t i = lane; i < length; i += 32) {
        s[i] = expf(s[i] - most);
        sum += s[i];
    }
    float inverse = 1.0f / warp_sum(sum);
    for (size_t i = lane; i < keys; i += 32) {
        size_t at = row * keys + i;
        float p = i < length ? s[i] * inverse : 0.0f;
        put(x, at, p);
        if (dropped) put(dropped, at, drop(p, at));
    }
}

// dp, of the probabilities after dropout, becomes the gradient of the products of queries and keys; `scores` gets that of the
// scores with their bias, unless it is null.
template <typename T>
__device__ void softmax_backward(T *dp, const T *p, float *scores, size_t rows, size_t keys, float scale, Drop drop) {
    int warps = blockDim.x >> 5, lane = threadIdx.x & 31;
    size_t row = (size_t)blockIdx.x * warps + (threadIdx.x >> 5);
    if (row >= rows) return;
    float sum = 0.0f;
    for (size_t i = lane; i < keys; i += 32) {
        size_t at = row * keys + i;
        sum += drop(get(dp, at), at) * get(p, at);
    }
    sum = warp_sum(sum);
    for (size_t i = lane; i < keys; i += 32) {
        size_t at = row * keys + i;
        float d = get(p, at) * (drop(get(dp, at), at) - sum);
        put(dp, at, d * scale);
        if (scores) scores[at] = d;
    }
}

// ---- rows of a table

// Row ids[i] of y becomes the sum of the rows order[starts[i]..starts[i + 1]] of x; without `ids` row i, without `order` those
// rows themselves. Rows are `width` wide; a block a segment.
__device__ void segment_sums(const float *x, float *y, const uint32_t *order, const uint32_t *starts, const uint32_t *ids, size_t width) {
    uint32_t begin = starts[blockIdx.x], end = starts[blockIdx.x + 1];
    size_t row = ids ? ids[blockIdx.x] : blockIdx.x;
    for (size_t i = threadIdx.x; i < width; i += blockDim.x) {
        float sum = 0.0f;
        for (uint32_t k = begin; k < end; k++) sum += x[(order ? order[k] : k) * width + i];
        y[row * width + i] = sum;
    }
}

// ---- optimiser

// One number a block: the sum of the squares of its share.
template <typename T> __device__ void sum_of_squares(const T *x, float *partial, size_t n) {
    __shared__ float warps[32];
    float sum = 0.0f;
    EACH(i, n) {
        float v = get(x, i);
        sum += v * v;
    }
    sum = warp_sum(sum);
    if ((threadIdx.x & 31) == 0) warps[threadIdx.x >> 5] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = threadIdx.x < blockDim.x / 32 ? warps[threadIdx.x] : 0.0f;
        sum = warp_sum(sum);
        if (threadIdx.x == 0) partial[blockIdx.x] = sum;
    }
}

// The same fields as `Rule` in optim/update.rs.
struct Rule {
    float beta1, beta2, eps, scale, shrink, l2, rate, correction;
};

template <typename T> __device__ void adam(float *w, const T *gradient, float *m, float *v, size_t n, Rule r) {
    EACH(i, n) {
        float g = get(gradient, i) * r.scale + r.l2 * w[i];
        m[i] = r.beta1 * m[i] + (1.0f - r.beta1) * g;
        v[i] = r.beta2 * v[i] + (1.0f - r.beta2) * g * g;
        w[i] = w[i] * r.shrink - r.rate * m[i] / (sqrtf(v[i]) * r.correction + r.eps);
    }
}

template <typename T> __device__ void sgd(float *w, const T *gradient, float *m, size_t n, Rule r) {
    EACH(i, n) {
        m[i] = r.beta1 * m[i] + get(gradient, i) * r.scale + r.l2 * w[i];
        w[i] -= r.rate * m[i];
    }
}

// ---- int8 rounding: rows of q * scale with q of -127..=127, a warp a row

template <typename T> __device__ __forceinline__ float row_maximum(const T *row, size_t width) {
    float most = 0.0f;
    for (size_t i = threadIdx.x & 31; i < width; i += 32) most = fmaxf(most, fabsf(get(row, i)));
    return warp_max(most);
}

// What is no number stays none, so that a diverged training is noticed.
__device__ __forceinline__ float clipped(float q) { return isnan(q) ? q : fminf(fmaxf(q, -127.0f), 127.0f); }

#define EACH_ROW(row, rows)                                                                                                           \
    for (size_t row = (size_t)blockIdx.x * (blockDim.x >> 5) + (threadIdx.x >> 5); row < (rows); row += (size_t)gridDim.x * (blockDim.x >> 5))

// As `round_activations` in attar-rounding: rows whose largest magnitude is below `zero` become 0.
template <typename T> __device__ void round_activations(const T *x, T *y, size_t rows, size_t width, float zero) {
    EACH_ROW(row, rows) {
        const T *from = x + row * width;
        float most = row_maximum(from, width);
        float scale = most / 127.0f, factor = 127.0f / most;
        for (size_t i = threadIdx.x & 31; i < width; i += 32) {
            put(y + row * width, i, most < zero ? 0.0f : clipped(rintf(get(from, i) * factor)) * scale);
        }
    }
}

// As `round_weights` there, in place: a scale that is no normal number makes the row 0.
__device__ void round_weights(float *w, size_t rows, size_t width) {
    EACH_ROW(row, rows) {
        float *at = w + row * width;
        float scale = row_maximum(at, width) / 127.0f;
        bool normal = scale >= 1.17549435e-38f && scale <= 3.40282347e38f;
        for (size_t i = threadIdx.x & 31; i < width; i += 32) {
            at[i] = normal ? clipped(rintf(at[i] / scale)) * scale : 0.0f;
        }
    }
}

// ---- the entry points; the host passes plain numbers

#define DROP Drop{key, threshold, keep_scale}
#define DROP_ARGUMENTS uint64_t key, uint32_t threshold, float keep_scale
#define RULE Rule{beta1, beta2, eps, scale, shrink, l2, rate, correction}
#define RULE_ARGUMENTS float beta1, float beta2, float eps, float scale, float shrink, float l2, float rate, float correction

#define ENTRIES(T, NAME)                                                                                                              \
    extern "C" __global__ void cast_##NAME(const float *x, T *y, size_t n) { cast(x, y, n); }                                         \
    extern "C" __global__ void dropout_##NAME(const T *x, T *y, size_t n, DROP_ARGUMENTS) { dropout(x, y, n, DROP); }                 \
    extern "C" __global__ void add_bias_##NAME(T *y, size_t n, size_t columns, size_t width, const float *a, const float *b,          \
                                               const float *c) {                                                                      \
        add_bias(y, n, columns, width, Biases{{a, b, c}});                                                                            \
    }                                                                                                                                 \
    extern "C" __global__ void add_bias_gelu_##NAME(T *y, T *out, size_t n, size_t columns, const float *bias) {                      \
        add_bias_gelu(y, out, n, columns, bias);                                                                                      \
    }                                                                                                                                 \
    extern "C" __global__ void gelu_backward_##NAME(const T *dy, const T *x, T *dx, size_t n) { gelu_backward(dy, x, dx, n); }        \
    extern "C" __global__ void column_sums_##NAME(const T *x, float *y, size_t rows, size_t columns) {                                \
        column_sums(x, y, rows, columns);                                                                                             \
    }                                                                                                                                 \
    extern "C" __global__ void norm_##NAME(const T *x, const T *residual, const float *weight, const float *bias, T *y, size_t rows,  \
                                           size_t width, float eps, DROP_ARGUMENTS) {                                                 \
        norm(x, residual, weight, bias, y, rows, width, eps, DROP);                                                                   \
    }                                                                                                                                 \
    extern "C" __global__ void norm_backward_##NAME(const T *dy, const T *x, const T *residual, const float *weight, T *ds, T *dx,    \
                                                    float *partial, size_t rows, size_t width, float eps, DROP_ARGUMENTS) {           \
        norm_backward(dy, x, residual, weight, ds, dx, partial, rows, width, eps, DROP);                                              \
    }                                                                                                                                 \
    extern "C" __global__ void split_heads_##NAME(const T *x, T *y, size_t n, size_t batch, size_t seq, size_t first, size_t parts,   \
                                                  size_t heads, size_t depth, int back) {                                                           \
        split_heads(x, y, n, batch, seq, first, parts, heads, depth, back);                                                                         \
    }                                                                                                                                 \
    extern "C" __global__ void softmax_##NAME(T *x, T *dropped, const float *bias, const uint32_t *lengths, size_t rows,              \
                                              size_t per_batch, size_t keys, float scale, DROP_ARGUMENTS) {                           \
        softmax(x, dropped, bias, lengths, rows, per_batch, keys, scale, DROP);                                                       \
    }                                                                                                                                 \
    extern "C" __global__ void softmax_backward_##NAME(T *dp, const T *p, float *scores, size_t rows, size_t keys, float scale,       \
                                                       DROP_ARGUMENTS) {                                                              \
        softmax_backward(dp, p, scores, rows, keys, scale, DROP);                                                                     \
    }                                                                                                                                 \
    extern "C" __global__ void round_activations_##NAME(const T *x, T *y, size_t rows, size_t width, float zero) {                    \
        round_activations(x, y, rows, width, zero);                                                                                   \
    }                                                                                                                                 \
    extern "C" __global__ void sum_of_squares_##NAME(const T *x, float *partial, size_t n) { sum_of_squares(x, partial, n); }         \
    extern "C" __global__ void adam_##NAME(float *w, const T *g, float *m, float *v, size_t n, RULE_ARGUMENTS) {                      \
        adam(w, g, m, v, n, RULE);                                                                                                    \
    }                                                                                                                                 \
    extern "C" __global__ void sgd_##NAME(float *w, const T *g, float *m, size_t n, RULE_ARGUMENTS) { sgd(w, g, m, n, RULE); }

ENTRIES(float, f32)
ENTRIES(bf16, bf16)

extern "C" __global__ void segment_sums_f32(const float *x, float *y, const uint32_t *order, const uint32_t *starts, const uint32_t *ids,
                                            size_t width) {
    segment_sums(x, y, order, starts, ids, width);
}

extern "C" __global__ void round_weights_f32(float *w, size_t rows, size_t width) { round_weights(w, rows, width); }
