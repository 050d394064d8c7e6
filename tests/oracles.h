// Values that PyTorch and transformers compute in double for single operators: tests/data/ops.json and ops.safetensors.
//
//   Oracle o("rms_norm.eps0.01");
//   o.number("eps");                       // a setting; nested ones by path: "rope_scaling.factor"
//   Tensor x = o.tensor("x", DType::f32);
//   o["out"].values, o["out"].shape;       // in double
//
// `dout` is the incoming gradient and `dX` = d sum(out * dout) / dX; without a `dout` it is 1.
#pragma once

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "../runtime/error.h"
#include "op_table/arrays.h"
#include "test_data.h"

namespace tenon::testing {

class Oracle {
 public:
  explicit Oracle(const std::string& name) : name_(name), case_(files().cases.at(name)) {}

  /// Names of the cases that begin with `prefix`.
  static std::vector<std::string> names(const std::string& prefix) {
    std::vector<std::string> found;
    for (const auto& [name, value] : files().cases.items())
      if (name.rfind(prefix, 0) == 0) found.push_back(name);
    return found;
  }

  /// A setting of the case, as JSON; Error when it is not there.
  const nlohmann::json& setting(const std::string& path) const {
    const nlohmann::json* node = &case_.at("settings");
    std::istringstream parts(path);
    for (std::string key; std::getline(parts, key, '.');) {
      if (!node->contains(key)) throw Error("oracle " + name_ + " has no setting " + path);
      node = &node->at(key);
    }
    return *node;
  }
  bool has_setting(const std::string& key) const {
    return case_.contains("settings") && case_["settings"].contains(key);
  }
  double number(const std::string& path) const { return setting(path).get<double>(); }

  bool has(const std::string& tensor) const { return files().header.contains(name_ + "." + tensor); }

  Array operator[](const std::string& tensor) const {
    if (!has(tensor)) throw Error("oracle " + name_ + " has no tensor " + tensor);
    const Files& f = files();
    const nlohmann::json& entry = f.header.at(name_ + "." + tensor);
    const auto dims = entry.at("shape").get<std::vector<int64_t>>();
    const std::string dtype = entry.at("dtype");
    const bool integer = dtype == "I64" || dtype == "U8";
    Array out(Shape(std::span<const int64_t>(dims)), integer ? Kind::i32 : Kind::real);
    const char* at = f.bytes.data() + f.data_begin + entry.at("data_offsets").at(0).get<size_t>();
    for (double& v : out.values) {
      if (dtype == "F64") {
        v = take<double>(at);
      } else if (dtype == "F32") {
        v = take<float>(at);
      } else if (dtype == "I64") {
        v = static_cast<double>(take<int64_t>(at));
      } else if (dtype == "U8") {
        v = take<uint8_t>(at);
      } else {
        throw Error("oracle " + name_ + "." + tensor + ": unexpected dtype " + dtype);
      }
    }
    return out;
  }

  /// Of `dtype`: f32, bf16 or i32.
  Tensor tensor(const std::string& name, DType dtype) const {
    const Array a = (*this)[name];
    Tensor t = Tensor::empty(a.shape, dtype);
    for (int64_t i = 0; i < a.numel(); ++i) {
      if (dtype == DType::i32) {
        t.data<int32_t>()[i] = static_cast<int32_t>(a[i]);
      } else if (dtype == DType::bf16) {
        t.data<bf16>()[i] = from_float<bf16>(static_cast<float>(a[i]));
      } else {
        t.data<float>()[i] = static_cast<float>(a[i]);
      }
    }
    return t;
  }

 private:
  struct Files {
    nlohmann::json cases, header;
    std::string bytes;
    size_t data_begin;
  };

  static const Files& files() {
    static const Files loaded = [] {
      const std::string folder = tree_data_path("");
      Files f;
      std::ifstream json(folder + "ops.json");
      if (!json) throw Error("cannot open " + folder + "ops.json");
      f.cases = nlohmann::json::parse(json).at("cases");
      std::ifstream tensors(folder + "ops.safetensors", std::ios::binary);
      if (!tensors) throw Error("cannot open " + folder + "ops.safetensors");
      std::ostringstream all;
      all << tensors.rdbuf();
      f.bytes = all.str();
      uint64_t header_bytes = 0;
      std::memcpy(&header_bytes, f.bytes.data(), 8);
      f.data_begin = 8 + header_bytes;
      f.header = nlohmann::json::parse(f.bytes.substr(8, header_bytes));
      return f;
    }();
    return loaded;
  }

  template <class T>
  static T take(const char*& at) {
    T value;
    std::memcpy(&value, at, sizeof(T));
    at += sizeof(T);
    return value;
  }

  std::string name_;
  const nlohmann::json& case_;
};

}  // namespace tenon::testing
