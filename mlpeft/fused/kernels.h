/* What the generated C is made of. Bits are the same on every processor and with every
   compiler: sums have a fixed order in 16 lanes, products and sums are rounded one by
   one (-ffp-contract=off), and fmaf is written where one rounding is meant. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 16
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#define KEEP _Pragma("GCC unroll 1") /* a loop; unrolled, its sums leave the registers */

typedef float Lanes __attribute__((vector_size(4 * LANES)));
typedef float Half __attribute__((vector_size(2 * LANES)));
typedef float Quarter __attribute__((vector_size(LANES)));

#ifdef __AVX512F__
#define WIDE 4 /* vectors side by side in a block of a product */
#define TALL 6 /* rows of a block */
#else
#define WIDE 1
#define TALL 6
#endif

/* Elements. */

INLINE float max_(float a, float b) { return a > b || a != a ? a : b; }
INLINE float min_(float a, float b) { return a < b || a != a ? a : b; }

/* e^x: x = n ln 2 + r, |r| <= ln 2 / 2, e^r by its Taylor series; 2^n in two factors,
   so that it may be subnormal or infinite. */
INLINE float exp_(float x) {
  float c = x > 89.0f ? 89.0f : x < -104.0f ? -104.0f : x;
  float n = rintf(c * 0x1.715476p+0f);
  float r = fmaf(n, -0x1.62e4p-1f, c);
  r = fmaf(n, -0x1.7f7d1cp-20f, r);
  float p = 0x1.a01a02p-13f;
  p = fmaf(p, r, 0x1.6c16c2p-10f);
  p = fmaf(p, r, 0x1.111112p-7f);
  p = fmaf(p, r, 0x1.555556p-5f);
  p = fmaf(p, r, 0x1.555556p-3f);
  p = fmaf(p, r, 0.5f);
  p = fmaf(p, r, 1.0f);
  p = fmaf(p, r, 1.0f);
  int32_t whole = (int32_t)n, half = whole >> 1;
  union { int32_t i; float f; } first = {(half + 127) << 23},
                                second = {(whole - half + 127) << 23};
  float y = p * first.f * second.f;
  return x != x ? x : x > 88.8f ? INFINITY : y;
}

/* ln x: x = 2^n m, m in [sqrt(1/2), sqrt(2)), ln m = 2 atanh((m - 1) / (m + 1)). */
INLINE float log_(float x) {
  float scaled = x < 0x1p-126f ? x * 0x1p24f : x;
  union { float f; int32_t i; } bits = {scaled};
  int32_t n = (bits.i - 0x3f3504f3) >> 23;
  union { int32_t i; float f; } mantissa = {bits.i - (n << 23)};
  float whole = (float)n - (x < 0x1p-126f ? 24.0f : 0.0f);
  float f = mantissa.f - 1.0f;
  float s = f / (mantissa.f + 1.0f);
  float z = s * s;
  float p = 0x1.c71c72p-4f; /* 1 / 9 */
  p = fmaf(p, z, 0x1.24924ap-3f);
  p = fmaf(p, z, 0x1.99999ap-3f);
  p = fmaf(p, z, 0x1.555556p-2f);
  float y = fmaf(2.0f * s * z, p, 2.0f * s);
  y = fmaf(whole, 0x1.62e430p-1f, fmaf(whole, -0x1.05c610p-29f, y));
  return x == 0 ? -INFINITY : x < 0 ? NAN : !(x < INFINITY) ? x : y;
}

/* The rational functions of mlpeft.models.ops.activations. */
INLINE float tanh_(float x) {
  float c = x > 7.9f ? 7.9f : x < -7.9f ? -7.9f : x;
  float t = c * c;
  float top = fmaf(fmaf(fmaf(1.15318535e-05f, t, 0.00296047493f), t, 0.129344195f), t,
                   0.999999881f);
  float bottom = fmaf(2.49255237e-07f, t, 0.000240012261f);
  bottom = fmaf(fmaf(fmaf(bottom, t, 0.0238540899f), t, 0.462676466f), t, 1.0f);
  return x != x ? x : c * top / bottom;
}

/* erf(x) = 2 Phi(sqrt(2) x) - 1. */
INLINE float erf_(float x) {
  float u = x * 0x1.6a09e6p+0f;
  float c = u > 5.5f ? 5.5f : u < -5.5f ? -5.5f : u;
  float t = c * c;
  float top = fmaf(2.27493292e-08f, t, 6.35212382e-06f);
  top = fmaf(fmaf(top, t, 0.000168826612f), t, 0.00467726623f);
  top = fmaf(fmaf(top, t, 0.0338527394f), t, 0.398942235f);
  float bottom = fmaf(1.19750332e-06f, t, 7.36478021e-05f);
  bottom = fmaf(fmaf(bottom, t, 0.00188445009f), t, 0.0286459245f);
  bottom = fmaf(fmaf(bottom, t, 0.251522152f), t, 1.0f);
  return x != x ? x : 2.0f * (c * top / bottom);
}

INLINE float sigmoid_(float x) {
  float e = exp_(-fabsf(x));
  return (x < 0 ? e : 1.0f) / (1.0f + e);
}

INLINE float logaddexp_(float a, float b) {
  double larger = a > b ? a : b, less = a > b ? b : a;
  return larger == less ? (float)(larger + log(2.0))
                        : (float)(larger + log1p(exp(less - larger)));
}

/* Lanes. */

INLINE Lanes load_(const float *p) {
  Lanes v;
  memcpy(&v, p, sizeof v);
  return v;
}
INLINE Lanes load_some_(const float *p, int many) {
  Lanes v = {0};
  memcpy(&v, p, 4 * many);
  return v;
}
INLINE void store_(float *p, Lanes v) { memcpy(p, &v, sizeof v); }
INLINE void store_some_(float *p, Lanes v, int many) { memcpy(p, &v, 4 * many); }
INLINE Lanes all_(float x) { return x - (Lanes){0}; /* exact, for -0 too */ }
/* a b + c with one rounding. Compilers do not reliably make one instruction of 16. */
INLINE Lanes fma_(Lanes a, Lanes b, Lanes c) {
#if __has_builtin(__builtin_elementwise_fma)
  return __builtin_elementwise_fma(a, b, c);
#elif defined(__AVX512F__)
  return __builtin_ia32_vfmaddps512_mask(a, b, c, -1, 4);
#elif defined(__FMA__)
  Half x[2], y[2], z[2];
  memcpy(x, &a, sizeof a), memcpy(y, &b, sizeof b), memcpy(z, &c, sizeof c);
  UNROLL for (int h = 0; h < 2; h++) z[h] = __builtin_ia32_vfmaddps256(x[h], y[h], z[h]);
  memcpy(&c, z, sizeof c);
  return c;
#else
  UNROLL for (int l = 0; l < LANES; l++) c[l] = fmaf(a[l], b[l], c[l]);
  return c;
#endif
}
INLINE float tree_(Lanes v) {
  Half h[2];
  memcpy(h, &v, sizeof v);
  Half s = h[0] + h[1];
  Quarter q[2];
  memcpy(q, &s, sizeof s);
  Quarter t = q[0] + q[1];
  return (t[0] + t[2]) + (t[1] + t[3]);
}
INLINE float sum_(long n, const float *p) {
  if (n < LANES) {
    float total = 0;
    for (long i = 0; i < n; i++) total += p[i];
    return total;
  }
  Lanes total = load_(p);
  long i = LANES;
  for (; i + LANES <= n; i += LANES) total += load_(p + i);
  if (n % LANES) total += load_some_(p + i, n % LANES);
  return tree_(total);
}

/* dst[i ldd + j] = src[j lds + i] for i < rows, j < columns. */
INLINE void transpose_(long rows, long columns, const float *restrict src, long lds,
                       float *restrict dst, long ldd) {
  long i = 0;
  for (; i + LANES <= rows; i += LANES) {
    long j = 0;
    for (; j + LANES <= columns; j += LANES) {
      Lanes a[LANES], b[LANES];
      UNROLL for (int l = 0; l < LANES; l++) a[l] = load_(src + (j + l) * lds + i);
      for (int stage = 0; stage < 4; stage++) {
        UNROLL for (int l = 0; l < LANES / 2; l++) {
          b[2 * l] = __builtin_shufflevector(a[l], a[l + 8], 0, 16, 1, 17, 2, 18, 3,
                                             19, 4, 20, 5, 21, 6, 22, 7, 23);
          b[2 * l + 1] = __builtin_shufflevector(a[l], a[l + 8], 8, 24, 9, 25, 10, 26,
                                                 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        UNROLL for (int l = 0; l < LANES; l++) a[l] = b[l];
      }
      UNROLL for (int l = 0; l < LANES; l++) store_(dst + (i + l) * ldd + j, a[l]);
    }
    for (; j < columns; j++)
      for (int l = 0; l < LANES; l++) dst[(i + l) * ldd + j] = src[j * lds + i + l];
  }
  for (; i < rows; i++)
    for (long j = 0; j < columns; j++) dst[i * ldd + j] = src[j * lds + i];
}

/* Products c = a b of (m, k) and (k, n); each element a chain of fmaf over k. */

INLINE void block_(const int tall, const int wide, const int some, long k,
                   const float *a, long as0, long as1, const float *b, long ldb,
                   float *c, long ldc) {
  Lanes sums[TALL][WIDE] = {};
  KEEP for (long p = 0; p < k; p++) {
    Lanes line[WIDE];
    UNROLL for (int v = 0; v < wide; v++)
        line[v] = some ? load_some_(b + p * ldb, some) : load_(b + p * ldb + v * LANES);
    UNROLL for (int r = 0; r < tall; r++) {
      Lanes x = all_(a[r * as0 + p * as1]);
      UNROLL for (int v = 0; v < wide; v++) sums[r][v] = fma_(x, line[v], sums[r][v]);
    }
  }
  UNROLL for (int r = 0; r < tall; r++) UNROLL for (int v = 0; v < wide; v++) {
    if (some)
      store_some_(c + r * ldc, sums[r][v], some);
    else
      store_(c + r * ldc + v * LANES, sums[r][v]);
  }
}

/* Rows of a, in blocks that are equally tall but for the last. */
INLINE void rows_(const int wide, const int some, long m, long k, const float *a,
                  long as0, long as1, const float *b, long ldb, float *c, long ldc) {
  const long blocks = (m + TALL - 1) / TALL, tall = (m + blocks - 1) / blocks;
  long i = 0;
  for (; i + tall <= m; i += tall)
    block_(tall, wide, some, k, a + i * as0, as0, as1, b, ldb, c + i * ldc, ldc);
  for (; i < m; i++)
    block_(1, wide, some, k, a + i * as0, as0, as1, b, ldb, c + i * ldc, ldc);
}

/* b has its rows side by side. */
INLINE void product_(long m, long n, long k, const float *restrict a, long as0,
                     long as1, const float *restrict b, long ldb, float *restrict c,
                     long ldc) {
  long j = 0;
  for (; j + WIDE * LANES <= n; j += WIDE * LANES)
    rows_(WIDE, 0, m, k, a, as0, as1, b + j, ldb, c + j, ldc);
  for (; j + LANES <= n; j += LANES)
    rows_(1, 0, m, k, a, as0, as1, b + j, ldb, c + j, ldc);
  if (n % LANES) rows_(1, n % LANES, m, k, a, as0, as1, b + j, ldb, c + j, ldc);
}

INLINE void dots_block_(const int tall, const int wide, long k, const float *a,
                        long lda, const float *b, long ldb, float *c, long ldc) {
  Lanes sums[TALL][4] = {};
  KEEP for (long p = 0; p < k; p += LANES) {
    Lanes line[4];
    UNROLL for (int v = 0; v < wide; v++)
        line[v] = p + LANES <= k ? load_(b + v * ldb + p)
                                 : load_some_(b + v * ldb + p, k % LANES);
    UNROLL for (int r = 0; r < tall; r++) {
      Lanes x = p + LANES <= k ? load_(a + r * lda + p)
                               : load_some_(a + r * lda + p, k % LANES);
      UNROLL for (int v = 0; v < wide; v++) sums[r][v] = fma_(x, line[v], sums[r][v]);
    }
  }
  UNROLL for (int r = 0; r < tall; r++) UNROLL for (int v = 0; v < wide; v++)
      c[r * ldc + v] = tree_(sums[r][v]);
}

INLINE void dots_rows_(const int wide, long m, long k, const float *a, long lda,
                       const float *b, long ldb, float *c, long ldc) {
  const long blocks = (m + 4) / 5, tall = (m + blocks - 1) / blocks;
  long i = 0;
  for (; i + tall <= m; i += tall)
    dots_block_(tall, wide, k, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
  for (; i < m; i++)
    dots_block_(1, wide, k, a + i * lda, lda, b, ldb, c + i * ldc, ldc);
}

/* b has its columns side by side, a its rows: elements are sums in 16 lanes. */
INLINE void dots_(long m, long n, long k, const float *restrict a, long lda,
                  const float *restrict b, long ldb, float *restrict c, long ldc) {
  long j = 0;
  for (; j + 4 <= n; j += 4)
    dots_rows_(4, m, k, a, lda, b + j * ldb, ldb, c + j, ldc);
  for (; j < n; j++) dots_rows_(1, m, k, a, lda, b + j * ldb, ldb, c + j, ldc);
}

/* Large products: cblas_sgemm of the library that MLX uses. */
typedef void Sgemm(int, int, int, int, int, int, float, const float *, int,
                   const float *, int, float, float *, int);
static Sgemm *sgemm;
