// The collectives that processes of one run use, whatever carries them. A single process has a communicator of one.
//
// Tensors are contiguous. All ranks call the same collectives in the same order with the same shapes and dtypes.
#pragma once

#include <memory>

#include "tensor.h"

namespace tenon {

enum class Reduction { sum, max };

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// In place; sums are in rank order, the same bits on every rank.
  virtual void all_reduce(Tensor& x, Reduction reduction = Reduction::sum) = 0;
  /// In place, from `root`.
  virtual void broadcast(Tensor& x, int root) = 0;
  /// x [n, ...] of every rank -> [size * n, ...] in rank order.
  virtual Tensor all_gather(const Tensor& x) = 0;
  /// x [size * n, ...] summed over ranks -> this rank's [n, ...].
  virtual Tensor reduce_scatter(const Tensor& x) = 0;
  /// x [size * n, ...]: part r goes to rank r -> [size * n, ...] with part r from rank r.
  virtual Tensor all_to_all(const Tensor& x) = 0;
  virtual void barrier() = 0;
  /// Ranks of one color form a communicator, ordered by key.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
};

/// A communicator of one.
std::shared_ptr<Communicator> single_process();

}  // namespace tenon
