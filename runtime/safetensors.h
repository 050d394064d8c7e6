// Safetensors files: read through a memory mapping, nothing in them believed before it is checked; written beside and
// renamed.
//
// Format: 8 bytes little-endian N, N bytes of JSON {name: {dtype, shape, data_offsets}}, then the elements, without
// gaps.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tensor.h"

namespace tenon {

struct SafetensorsEntry {
  std::string name;
  std::string format;        // the element type as the file says it: "BF16"
  DType dtype = DType::f32;  // of tensor(); F8_E4M3 comes as its codes, u8
  Shape shape;
};

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

class Safetensors {
 public:
  /// Throws Error naming the file and the fault: a header that is cut off, lies about its length or is no JSON, a
  /// tensor outside the file, tensors that overlap or leave gaps, a size that is not shape times dtype, a name twice, a
  /// dtype that is not read.
  static Safetensors open(const std::string& path);

  const std::string& path() const;
  /// In the order of the file.
  const std::vector<SafetensorsEntry>& entries() const;
  bool contains(const std::string& name) const;
  /// A view of the mapped file, which it keeps open. Writing into it changes the pages of this process, never the file;
  /// other tensors taken of the same name see it. The file may be replaced meanwhile, but not be overwritten in place
  /// or cut. Throws Error when there is no such tensor.
  Tensor tensor(const std::string& name) const;
  /// The memory of a tensor that nobody has written to goes back to the system; who reads it again reads the file
  /// again.
  void give_back(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const;

 private:
  struct File;
  explicit Safetensors(std::shared_ptr<const File> file) : file_(std::move(file)) {}
  std::shared_ptr<const File> file_;
};

/// Tensors of any device and strides. Metadata gets "format": "pt" unless it has a format, without which transformers
/// refuses a file.
void save_safetensors(const std::string& path, const NamedTensors& tensors,
                      const std::map<std::string, std::string>& metadata = {});

/// A model's folder: model.safetensors, or model.safetensors.index.json and the shards it names.
class ShardedSafetensors {
 public:
  /// Throws Error naming what is missing: the folder's weights, a shard, a tensor that the index promises.
  static ShardedSafetensors open_dir(const std::string& dir);

  /// Sorted.
  std::vector<std::string> names() const;
  bool contains(const std::string& name) const;
  Tensor tensor(const std::string& name) const;
  SafetensorsEntry entry(const std::string& name) const;
  void give_back(const std::string& name) const;

 private:
  const std::pair<size_t, size_t>& place(const std::string& name) const;

  std::string dir_;
  std::vector<Safetensors> shards_;
  std::map<std::string, std::pair<size_t, size_t>> where_;  // name -> shard, entry
};

/// model.safetensors, or shards and model.safetensors.index.json when all is larger than a shard may be. Weights of the
/// other form left there by an earlier save are removed last.
void save_sharded_safetensors(const std::string& dir, const NamedTensors& tensors,
                              size_t max_shard_bytes = 5'000'000'000);

}  // namespace tenon
