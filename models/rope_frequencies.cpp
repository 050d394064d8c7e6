#include "rope_frequencies.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace tenon::models {
namespace {

// Llama 3.1: wavelengths longer than original / low_freq_factor are divided by the factor, those shorter than original
// / high_freq_factor stay, between them a ramp.
void stretch_llama3(std::vector<double>& freq, const RopeScaling& s) {
  double original = static_cast<double>(s.original_max_position_embeddings);
  for (double& f : freq) {
    double wavelength = 2 * std::numbers::pi / f;
    if (wavelength < original / s.high_freq_factor) continue;
    if (wavelength > original / s.low_freq_factor) {
      f /= s.factor;
      continue;
    }
    double smooth = (original / wavelength - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
    f = (1 - smooth) * f / s.factor + smooth * f;
  }
}

// YaRN (arXiv 2309.00071, "NTK-by-parts"): channels that turn less than beta_slow times within the original context are
// divided by the factor, those that turn more than beta_fast times stay.
void stretch_yarn(std::vector<double>& freq, const RopeScaling& s, double theta) {
  double dim = 2.0 * static_cast<double>(freq.size());
  auto channel = [&](double turns) {
    return dim * std::log(static_cast<double>(s.original_max_position_embeddings) / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(theta));
  };
  double low = std::max(std::floor(channel(s.beta_fast)), 0.0);
  double high = std::min(std::ceil(channel(s.beta_slow)), dim - 1);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < freq.size(); ++i) {
    double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    freq[i] = freq[i] / s.factor * ramp + freq[i] * (1 - ramp);
  }
}

}  // namespace

RopeFrequencies rope_frequencies(const ModelConfig& config) {
  const int64_t dim = config.rotary_dim();
  std::vector<double> freq(static_cast<size_t>(dim / 2));
  for (size_t i = 0; i < freq.size(); ++i)
    freq[i] = std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(dim));

  RopeFrequencies out;
  const RopeScaling& s = config.rope_scaling;
  if (s.type == "linear") {
    for (double& f : freq) f /= s.factor;
  } else if (s.type == "llama3") {
    stretch_llama3(freq, s);
  } else if (s.type == "yarn") {
    stretch_yarn(freq, s, config.rope_theta);
  }
  out.attention_factor = static_cast<float>(s.rotation_factor());
  out.inv_freq.assign(freq.begin(), freq.end());
  return out;
}

}  // namespace tenon::models
