// Spherical harmonics of the view direction, and back.
#pragma once

// Real spherical harmonics up to degree 4 (16 values), signs as in tiny-cuda-nn.
static inline void spherical_harmonics(const float* d, int degree, float* o) {
  float x = d[0], y = d[1], z = d[2], xy = x * y, xz = x * z, yz = y * z;
  float x2 = x * x, y2 = y * y, z2 = z * z;
  o[0] = 0.28209479177387814f;
  if (degree <= 1) return;
  o[1] = -0.48860251190291987f * y;
  o[2] = 0.48860251190291987f * z;
  o[3] = -0.48860251190291987f * x;
  if (degree <= 2) return;
  o[4] = 1.0925484305920792f * xy;
  o[5] = -1.0925484305920792f * yz;
  o[6] = 0.94617469575755997f * z2 - 0.31539156525251999f;
  o[7] = -1.0925484305920792f * xz;
  o[8] = 0.54627421529603959f * (x2 - y2);
  if (degree <= 3) return;
  o[9] = 0.59004358992664352f * y * (-3 * x2 + y2);
  o[10] = 2.8906114426405538f * xy * z;
  o[11] = 0.45704579946446572f * y * (1 - 5 * z2);
  o[12] = 0.3731763325901154f * z * (5 * z2 - 3);
  o[13] = 0.45704579946446572f * x * (1 - 5 * z2);
  o[14] = 1.4453057213202769f * z * (x2 - y2);
  o[15] = 0.59004358992664352f * x * (-x2 + 3 * y2);
}

// d[3] += the gradient to the direction, g being the gradient to the harmonics.
static inline void spherical_harmonics_backward(const float* v, int degree, const float* g,
                                                float* d) {
  float x = v[0], y = v[1], z = v[2];
  if (degree > 1) {
    const float a = 0.48860251190291987f;
    d[1] -= a * g[1], d[2] += a * g[2], d[0] -= a * g[3];
  }
  if (degree > 2) {
    const float b = 1.0925484305920792f;
    d[0] += b * (y * g[4] - z * g[7] + x * g[8]);
    d[1] += b * (x * g[4] - z * g[5] - y * g[8]);
    d[2] += b * (-y * g[5] - x * g[7]) + 2 * 0.94617469575755997f * z * g[6];
  }
  if (degree > 3) {
    const float c = 0.59004358992664352f, e = 2.8906114426405538f, h = 0.45704579946446572f;
    const float q = 0.3731763325901154f, r = 1.4453057213202769f;
    d[0] += -6 * c * x * y * g[9] + e * y * z * g[10] + h * (1 - 5 * z * z) * g[13] +
            2 * r * x * z * g[14] + 3 * c * (y * y - x * x) * g[15];
    d[1] += 3 * c * (y * y - x * x) * g[9] + e * x * z * g[10] + h * (1 - 5 * z * z) * g[11] -
            2 * r * y * z * g[14] + 6 * c * x * y * g[15];
    d[2] += e * x * y * g[10] - 10 * h * y * z * g[11] + q * (15 * z * z - 3) * g[12] -
            10 * h * x * z * g[13] + r * (x * x - y * y) * g[14];
  }
}
