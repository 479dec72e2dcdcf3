// W splats at a time into a picture, and the gradient back (see
// `kernels/reference/splats/drawing.py`, whose legend holds here too).
#pragma once
#include "field/harmonics.h"

namespace splats {

constexpr float DILATION = 0.3f, LEAST_ALPHA = 1.0f / 255, MOST_ALPHA = 0.99f, LEAST_LIGHT = 1e-4f;
// Of determinants: larger splats, and what is no number, are not drawn.
constexpr float LARGEST = 1e15f;
constexpr int MAX_DEGREE = 4, HARMONICS = MAX_DEGREE * MAX_DEGREE;

struct Camera {
  float pose[12], focal[2], center[2], near, reach[4];  // pose: camera_from_world [3 4]
  int width, height;
};

// Flat arrays of splats, or of the gradient to them.
template <class T>
struct Arrays {
  T *means, *scales, *rotations, *opacities, *colors;
  int64_t count;
  int degree;
};
using Given = Arrays<const float>;

// A splat in the picture, all that a pixel needs of it. `cut` is the exponent below which its alpha
// is too small to be drawn.
struct Projected {
  float x, y, xx, xy, yy, cut, opacity, color[3], reach_x, reach_y, depth;
};

// What happens to a splat in all pixels of a tile: sums of g = alpha * (gradient to alpha), of g
// times powers of (u, v) = q (x, y)^T, of weights times the gradient to the colour, and of weights.
enum Sum { SUM_G, SUM_U, SUM_V, SUM_UU, SUM_UV, SUM_VV, SUM_RED, SUM_GREEN, SUM_BLUE, SUM_W, SUMS };

// Number k of each of W rows of `stride` floats, the first row being `first`.
static inline vf lanes_from(const float* rows, int64_t first, int lanes, int stride, int k) {
  vf v = {};
  for (int i = 0; i < lanes; i++) v[i] = rows[(first + i) * stride + k];
  return v;
}
static inline void lanes_to(float* rows, int64_t first, int lanes, int stride, int k, vf v) {
  for (int i = 0; i < lanes; i++) rows[(first + i) * stride + k] = v[i];
}

// The shapes of W splats on their way into the picture.
struct Shapes {
  vf p[3], slope[2], unit[4], length, scale[3], axes[3][3], x[3], y[3], xx, xy, yy, determinant;
  vi bent[2];  // whether the stretching still grows
  vi whole;    // whether the scales are numbers

  Shapes(const Camera& c, const Given& in, int64_t first, int lanes) {
    for (int k = 0; k < 3; k++) {
      p[k] = splat(c.pose[4 * k + 3]);
      for (int j = 0; j < 3; j++)
        p[k] += c.pose[4 * k + j] * lanes_from(in.means, first, lanes, 3, j);
    }
    vf square = {};
    for (int k = 0; k < 4; k++) {
      unit[k] = lanes_from(in.rotations, first, lanes, 4, k);
      square += unit[k] * unit[k];
    }
    length = vmax(root(square), splat(1e-12f));
    for (int k = 0; k < 4; k++) unit[k] /= length;
    whole = vi{} - 1;
    for (int k = 0; k < 3; k++) {
      const vf exponent = lanes_from(in.scales, first, lanes, 3, k);
      whole &= exponent == exponent;
      scale[k] = vexp(exponent);
    }
    for (int k = 0; k < 2; k++) {
      const vf ratio = p[k] / p[2], low = splat(c.reach[2 * k]), high = splat(c.reach[2 * k + 1]);
      bent[k] = (ratio >= low) & (ratio <= high);
      slope[k] = vmin(vmax(ratio, low), high);
    }
    turn(c);
    flatten(c);
  }

  // axes = W R.
  void turn(const Camera& c) {
    const vf w = unit[0], a = unit[1], b = unit[2], d = unit[3];
    const vf r[3][3] = {{1 - 2 * (b * b + d * d), 2 * (a * b - w * d), 2 * (a * d + w * b)},
                        {2 * (a * b + w * d), 1 - 2 * (a * a + d * d), 2 * (b * d - w * a)},
                        {2 * (a * d - w * b), 2 * (b * d + w * a), 1 - 2 * (a * a + b * b)}};
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 3; j++)
        axes[i][j] = c.pose[4 * i] * r[0][j] + c.pose[4 * i + 1] * r[1][j] +
                     c.pose[4 * i + 2] * r[2][j];
  }

  // The axes' images x and y, and what they sum to. The determinant as a sum of squares: a long
  // splat's is what is left of much larger numbers.
  void flatten(const Camera& c) {
    xx = yy = splat(DILATION), xy = vf{};
    for (int k = 0; k < 3; k++) {
      x[k] = c.focal[0] / p[2] * scale[k] * (axes[0][k] - slope[0] * axes[2][k]);
      y[k] = c.focal[1] / p[2] * scale[k] * (axes[1][k] - slope[1] * axes[2][k]);
      xx += x[k] * x[k], xy += x[k] * y[k], yy += y[k] * y[k];
    }
    determinant = DILATION * (xx + yy - DILATION);
    for (int k = 0; k < 3; k++) {
      const vf area = x[k] * y[(k + 1) % 3] - x[(k + 1) % 3] * y[k];
      determinant += area * area;
    }
  }
};

// Unit directions from the camera to W means, and their distances.
struct Toward {
  vf direction[3], distance;
  Toward(const Camera& c, const vf (&p)[3]) {
    distance = vmax(root(p[0] * p[0] + p[1] * p[1] + p[2] * p[2]), splat(1e-12f));
    for (int j = 0; j < 3; j++)
      direction[j] = (c.pose[j] * p[0] + c.pose[4 + j] * p[1] + c.pose[8 + j] * p[2]) / distance;
  }
};

static inline vf sigmoid(vf x) { return 1 / (1 + vexp(-x)); }

// The colours of W splats, not yet kept from falling below 0.
static inline void colors_of(const Given& in, const vf* harmonics, int64_t first, int lanes,
                             vf (&color)[3]) {
  const int num = in.degree * in.degree;
  for (int c = 0; c < 3; c++) color[c] = splat(0.5f);
  for (int h = 0; h < num; h++)
    for (int c = 0; c < 3; c++)
      color[c] += harmonics[h] * lanes_from(in.colors, first, lanes, 3 * num, 3 * h + c);
}

// Splats [first, first + lanes) to `out`; a depth of 0 says that one is not in the picture.
static inline void project(const Camera& c, const Given& in, int64_t first, int lanes,
                           Projected* out) {
  const Shapes s(c, in, first, lanes);
  const vf logit = lanes_from(in.opacities, first, lanes, 1, 0), opacity = sigmoid(logit);
  const vf x = s.p[0] / s.p[2] * c.focal[0] + c.center[0];
  const vf y = s.p[1] / s.p[2] * c.focal[1] + c.center[1];
  const vf cut = vlog(vmax(opacity, splat(LEAST_ALPHA)) * (1 / LEAST_ALPHA));
  const vf reach_x = root(2 * cut * s.xx), reach_y = root(2 * cut * s.yy);
  vi seen = (s.p[2] > c.near) & (opacity >= LEAST_ALPHA) & (s.determinant < LARGEST);
  seen &= s.whole & (logit == logit);
  seen &= (x + reach_x > 0) & (x - reach_x < (float)c.width);
  seen &= (y + reach_y > 0) & (y - reach_y < (float)c.height);
  if (!any_lane(seen)) {
    for (int i = 0; i < lanes; i++) out[i].depth = 0;
    return;
  }
  const vf inverse = 1 / s.determinant;
  const Toward toward(c, s.p);
  vf harmonics[HARMONICS], color[3];
  spherical_harmonics(toward.direction, in.degree, harmonics);
  colors_of(in, harmonics, first, lanes, color);
  const vf qxx = s.yy * inverse, qxy = -s.xy * inverse, qyy = s.xx * inverse;
  for (int i = 0; i < lanes; i++) {
    Projected& o = out[i];
    o = {x[i], y[i], qxx[i], qxy[i], qyy[i], -cut[i], opacity[i], {}, reach_x[i], reach_y[i],
         seen[i] ? s.p[2][i] : 0.0f};
    for (int k = 0; k < 3; k++) o.color[k] = std::max(0.0f, color[k][i]);
  }
}

// The gradient to a unit quaternion's rotation matrix, to the quaternion of any length.
static inline void rotation_backward(const Shapes& s, const vf (&g)[3][3], vf (&to)[4]) {
  const vf w = s.unit[0], x = s.unit[1], y = s.unit[2], z = s.unit[3];
  const vf turned[3] = {g[2][1] - g[1][2], g[0][2] - g[2][0], g[1][0] - g[0][1]};
  to[0] = 2 * (x * turned[0] + y * turned[1] + z * turned[2]);
  const vf xy = g[0][1] + g[1][0], xz = g[0][2] + g[2][0], yz = g[1][2] + g[2][1];
  to[1] = 2 * (y * xy + z * xz + w * turned[0] - 2 * x * (g[1][1] + g[2][2]));
  to[2] = 2 * (x * xy + z * yz + w * turned[1] - 2 * y * (g[0][0] + g[2][2]));
  to[3] = 2 * (x * xz + y * yz + w * turned[2] - 2 * z * (g[0][0] + g[1][1]));
  const vf along = w * to[0] + x * to[1] + y * to[2] + z * to[3];
  for (int k = 0; k < 4; k++) to[k] = (to[k] - s.unit[k] * along) / s.length;
}

// From the gradient to A of W splats to that to p (added), scales and rotations.
static inline void shapes_backward(const Camera& c, const Shapes& s, const vf (&to_a)[3],
                                   vf (&to_p)[3], const Arrays<float>& out, int64_t first,
                                   int lanes) {
  vf to_rotation[3][3], to_slope[2] = {};
  for (int k = 0; k < 3; k++) {
    const vf to_x = 2 * to_a[0] * s.x[k] + to_a[1] * s.y[k];
    const vf to_y = 2 * to_a[2] * s.y[k] + to_a[1] * s.x[k];
    const vf all = to_x * s.x[k] + to_y * s.y[k];
    lanes_to(out.scales, first, lanes, 3, k, all);  // x and y are proportional to the scale
    to_p[2] -= all / s.p[2];
    const vf fx = c.focal[0] / s.p[2] * s.scale[k] * to_x;
    const vf fy = c.focal[1] / s.p[2] * s.scale[k] * to_y;
    to_slope[0] -= fx * s.axes[2][k], to_slope[1] -= fy * s.axes[2][k];
    const vf to_axis[3] = {fx, fy, -fx * s.slope[0] - fy * s.slope[1]};
    for (int j = 0; j < 3; j++)
      to_rotation[j][k] = c.pose[j] * to_axis[0] + c.pose[4 + j] * to_axis[1] +
                          c.pose[8 + j] * to_axis[2];
  }
  for (int k = 0; k < 2; k++) {
    const vf moving = s.bent[k] ? to_slope[k] / s.p[2] : vf{};
    to_p[k] += moving, to_p[2] -= moving * s.slope[k];
  }
  vf to_unit[4];
  rotation_backward(s, to_rotation, to_unit);
  for (int k = 0; k < 4; k++) lanes_to(out.rotations, first, lanes, 4, k, to_unit[k]);
}

// From the gradient to colours of W splats to that to harmonics' factors and to means (added).
static inline void colors_backward(const Given& in, const Toward& toward, const vf (&to_seen)[3],
                                   vf (&to_mean)[3], const Arrays<float>& out, int64_t first,
                                   int lanes) {
  const int num = in.degree * in.degree;
  vf harmonics[HARMONICS], to_harmonics[HARMONICS], color[3], to_color[3], to_direction[3] = {};
  spherical_harmonics(toward.direction, in.degree, harmonics);
  colors_of(in, harmonics, first, lanes, color);
  for (int c = 0; c < 3; c++) to_color[c] = color[c] > 0 ? to_seen[c] : vf{};
  for (int h = 0; h < num; h++) {
    to_harmonics[h] = vf{};
    for (int c = 0; c < 3; c++) {
      to_harmonics[h] += to_color[c] * lanes_from(in.colors, first, lanes, 3 * num, 3 * h + c);
      lanes_to(out.colors, first, lanes, 3 * num, 3 * h + c, to_color[c] * harmonics[h]);
    }
  }
  spherical_harmonics_backward(toward.direction, in.degree, to_harmonics, to_direction);
  vf along = {};
  for (int k = 0; k < 3; k++) along += to_direction[k] * toward.direction[k];
  for (int k = 0; k < 3; k++)
    to_mean[k] += (to_direction[k] - along * toward.direction[k]) / toward.distance;
}

// The gradient to splats [first, first + lanes) from the sums over their pixels.
static inline void project_backward(const Camera& c, const Given& in, const vf (&sums)[SUMS],
                                    int64_t first, int lanes, const Arrays<float>& out) {
  const Shapes s(c, in, first, lanes);
  const vf to_a[3] = {0.5f * sums[SUM_UU], sums[SUM_UV], 0.5f * sums[SUM_VV]};
  const vf to_x = sums[SUM_U] * c.focal[0] / s.p[2], to_y = sums[SUM_V] * c.focal[1] / s.p[2];
  vf to_p[3] = {to_x, to_y, -(to_x * s.p[0] + to_y * s.p[1]) / s.p[2]};
  shapes_backward(c, s, to_a, to_p, out, first, lanes);
  vf to_mean[3];
  for (int j = 0; j < 3; j++)
    to_mean[j] = c.pose[j] * to_p[0] + c.pose[4 + j] * to_p[1] + c.pose[8 + j] * to_p[2];
  const vf to_color[3] = {sums[SUM_RED], sums[SUM_GREEN], sums[SUM_BLUE]};
  colors_backward(in, Toward(c, s.p), to_color, to_mean, out, first, lanes);
  for (int k = 0; k < 3; k++) lanes_to(out.means, first, lanes, 3, k, to_mean[k]);
  const vf opacity = sigmoid(lanes_from(in.opacities, first, lanes, 1, 0));
  lanes_to(out.opacities, first, lanes, 1, 0, sums[SUM_G] * (1 - opacity));
}

}  // namespace splats
