// The innermost loops of S1 for windows of SIDE^3 voxels: `operations.Operations` as CUDA kernels,
// for -DSIDE=n and -DRUN=n, the planes of labels that one thread makes.
//
// One thread makes one column (window) unless said otherwise, so that the
// threads of a warp read and write neighbours. Offsets are 64-bit: a slab and a tile's windows can
// each have more than 2^31 bytes.

#ifndef LANES
#define LANES 32  // threads of a warp; the tests compile for a host that has one
#endif
#define AREA (SIDE * SIDE)
#define VOXELS (SIDE * SIDE * SIDE)
#define HALF (SIDE / 2)
#define PAIRS ((AREA - 1) / 2)
#if SIDE <= 9  // keeps sums in registers; larger ones would compile for minutes
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("unroll 1")
#endif

typedef long long Index;
typedef unsigned long long Word;
typedef const float* __restrict__ Input;
typedef float* __restrict__ Output;

#if SIDE <= 25  // constant memory has 64 KiB
__constant__
#else
__device__
#endif
float FILTER[VOXELS];

__device__ Index thread_number() { return (Index)blockIdx.x * blockDim.x + threadIdx.x; }

// Copies the window whose first voxel is at `corner` to a column of (VOXELS + 1, count).
__device__ void copy_window(Input corner, Index rows, Index columns, Index count, Output out)
{
#pragma unroll 1
    for (int p = 0; p < SIDE; ++p)
        for (int q = 0; q < SIDE; ++q)
            for (int r = 0; r < SIDE; ++r) {
                *out = corner[(p * rows + q) * columns + r];
                out += count;
            }
    *out = 1.0f;
}

// Operations.box_windows: a box of height x width windows a plane that begins at voxel (z, y, x).
extern "C" __global__ void box_windows(
    Input slab, Index rows, Index columns, Index z, Index y, Index x, Index height,
    Index width, Index count, Output out)
{
    const Index j = thread_number();
    if (j >= count) return;
    const Index row = j / width;
    const float* corner =
        slab + ((z + row / height) * rows + y + row % height) * columns + x + j % width;
    copy_window(corner, rows, columns, count, out + j);
}

// Operations.windows_at: windows `index` of a grid of height x width windows a plane.
extern "C" __global__ void windows_at(
    Input slab, Index rows, Index columns, const Index* __restrict__ index, Index plane,
    Index height, Index width, Index count, Output out)
{
    const Index j = thread_number();
    if (j >= count) return;
    const Index row = index[j] / width;
    const float* corner =
        slab + ((row / height + plane) * rows + row % height) * columns + index[j] % width;
    copy_window(corner, rows, columns, count, out + j);
}

__device__ Word split_mix(Word x)
{
    x *= 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

// Operations.draw: places start to start + count of a draw of `drawn` of `total` numbers.
extern "C" __global__ void draw(
    Index start, Index count, Index drawn, Index total, Index phase, Word key, Index wraps,
    Index* __restrict__ out)
{
    const Index j = thread_number();
    if (j >= count) return;
    const Index place = start + j - wraps;
    const Index stratum = place < 0 ? place + drawn : place;
    const Index begin = (stratum * total + phase) / drawn;
    const Index width = ((stratum + 1) * total + phase) / drawn - begin;
    const Index number = begin + (Index)(split_mix((Word)stratum + key) % (Word)width);
    out[j] = place < 0 ? number - total : number;
}

// A real line x along the window's x axis as x[r] + x[-r] and x[r] - x[-r], r up to HALF.
__device__ void halve(Input line, Index count, float even[], float odd[])
{
    even[0] = *line;
    UNROLL
    for (int r = 1; r <= HALF; ++r) {
        const float a = line[r * count], b = line[(SIDE - r) * count];
        even[r] = a + b;
        odd[r] = a - b;
    }
}

// Sums over x of a halved line times the cosine and the sine of frequency k. `waves` has one period
// of the cosine, then of the sine.
__device__ void transform(
    Input waves, int k, const float even[], const float odd[], float& by_cosine, float& by_sine)
{
    by_cosine = even[0];
    by_sine = 0.0f;
    UNROLL
    for (int r = 1; r <= HALF; ++r) {
        const int turn = k * r % SIDE;
        const int near = turn <= HALF ? turn : SIDE - turn;  // half of the values in registers
        by_cosine += waves[near] * even[r];
        by_sine += (turn <= HALF ? waves[SIDE + near] : -waves[SIDE + near]) * odd[r];
    }
}

// Operations.magnitudes: a window's lines by one thread, which keeps one complex line at a time.
extern "C" __global__ void magnitudes(
    Input lines, Input waves, float middle, Index count, Output out)
{
    const Index j = thread_number();
    if (j >= count) return;
    lines += j;
    out += j;
    float even[HALF + 1], odd[HALF + 1], even_i[HALF + 1], odd_i[HALF + 1];
    float cosine, sine, cosine_i, sine_i;
#pragma unroll 1
    for (int pair = 0; pair < PAIRS; ++pair, lines += 2 * SIDE * count, out += SIDE * count) {
        halve(lines, count, even, odd);
        halve(lines + SIDE * count, count, even_i, odd_i);
        transform(waves, 0, even, odd, cosine, sine);
        transform(waves, 0, even_i, odd_i, cosine_i, sine_i);
        *out = sqrtf(cosine * cosine + cosine_i * cosine_i);
        UNROLL
        for (int k = 1; k <= HALF; ++k) {
            transform(waves, k, even, odd, cosine, sine);
            transform(waves, k, even_i, odd_i, cosine_i, sine_i);
            const float a = cosine + sine_i, b = cosine_i - sine;  // at k
            const float c = cosine - sine_i, d = cosine_i + sine;  // at -k
            out[k * count] = sqrtf(a * a + b * b);
            out[(SIDE - k) * count] = sqrtf(c * c + d * d);
        }
    }
    halve(lines, count, even, odd);
    transform(waves, 0, even, odd, cosine, sine);
    *out = fabsf(cosine + middle);
    UNROLL
    for (int k = 1; k <= HALF; ++k) {
        transform(waves, k, even, odd, cosine, sine);
        out[k * count] = sqrtf(2.0f * (cosine * cosine + sine * sine));
    }
    out[(HALF + 1) * count] = 1.0f;
}

// The sum over the lanes of a warp; every lane has the result.
__device__ float warp_sum(float part)
{
    for (int step = LANES / 2; step > 0; step /= 2)
        part += __shfl_xor_sync(0xffffffffu, part, step);
    return part;
}

// Operations.sums_of_squares: one warp a window, lanes along its coordinates.
extern "C" __global__ void sums_of_squares(
    Input z, Input weights, Index size, Index count, Output out)
{
    const Index j = thread_number() / LANES;
    if (j >= count) return;
    const int lane = threadIdx.x % LANES;
    z += j * size;
    float part = 0.0f;
    for (Index k = lane; k < size; k += LANES) part += weights[k] * (z[k] * z[k]);
    const float sum = warp_sum(part);
    if (lane == 0) out[j] = sum;
}

// Operations.responsibilities: as sums_of_squares.
extern "C" __global__ void responsibilities(
    Input z, Output product, Index size, Index count, Output entropy)
{
    const Index j = thread_number() / LANES;
    if (j >= count) return;
    const int lane = threadIdx.x % LANES;
    z += j * size;
    product += j * size;
    float part = 0.0f;
    for (Index k = lane; k < size; k += LANES) part += z[k] * product[k];
    const float odds = warp_sum(part);
    const float decay = expf(-fabsf(odds));
    const float root = sqrtf((odds > 0.0f ? 1.0f : decay) / (1.0f + decay));
    for (Index k = lane; k < size; k += LANES) product[k] = root * z[k];
    if (lane == 0) entropy[j] = log1pf(decay) + fabsf(odds) * decay / (1.0f + decay);
}

// NearPlaces.add: in no order; the host sorts.
extern "C" __global__ void add_near(
    Input margin, float width, Index base, Index count, Index capacity, Word* found,
    Index* __restrict__ places)
{
    const Index j = thread_number();
    if (j >= count || !(fabsf(margin[j]) <= width)) return;
    const Word place = atomicAdd(found, (Word)1);
    if (place < (Word)capacity) places[place] = base + j;
}

// Operations.label_by_plane: one thread makes RUN labels along z. It reads each voxel of its
// SIDE x SIDE column once, and holds the sums of the SIDE labels that the voxel takes part in.
extern "C" __global__ void label_by_plane(
    Input slab, Index rows, Index columns, Index depth, float bias, signed char* __restrict__ labels)
{
    const Index x = (Index)blockIdx.x * blockDim.x + threadIdx.x;
    const Index y = (Index)blockIdx.y * blockDim.y + threadIdx.y;
    const Index first = (Index)blockIdx.z * RUN;
    if (x >= columns - SIDE + 1 || y >= rows - SIDE + 1) return;
    const Index last = first + RUN < depth ? first + RUN : depth;
    const float* column = slab + (first * rows + y) * columns + x;
    signed char* label = labels + (first * rows + y) * columns + x;
    float sum[SIDE] = {};
    for (Index z = first; z < last + SIDE - 1; ++z, column += rows * columns) {
        UNROLL
        for (int q = 0; q < SIDE; ++q)
            UNROLL
            for (int r = 0; r < SIDE; ++r) {
                const float voxel = column[q * columns + r];
                UNROLL
                for (int p = 0; p < SIDE; ++p)
                    sum[SIDE - 1 - p] += FILTER[p * AREA + q * SIDE + r] * voxel;
            }
        if (z - first >= SIDE - 1) {
            *label = sum[0] > bias;
            label += rows * columns;
        }
        UNROLL
        for (int p = 0; p < SIDE - 1; ++p) sum[p] = sum[p + 1];
        sum[SIDE - 1] = 0.0f;
    }
}
