#include "safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <set>
#include <unordered_map>

#include "check.h"
#include "files.h"
#include "json.h"

namespace tenon {
namespace {

static_assert(std::endian::native == std::endian::little, "the elements are written as they lie in memory");

constexpr uint64_t kMaxHeader = 100'000'000;  // the limit of the reference implementation

struct FormatName {
  std::string_view name;
  DType dtype;
};
constexpr FormatName kFormatNames[] = {{"F32", DType::f32},      {"BF16", DType::bf16}, {"F16", DType::f16},
                                       {"I32", DType::i32},      {"I64", DType::i64},   {"U8", DType::u8},
                                       {"BOOL", DType::boolean}, {"F8_E4M3", DType::u8}};

// The first that fits: U8 for u8.
std::string_view format_name(DType dtype) {
  for (const auto& known : kFormatNames)
    if (known.dtype == dtype) return known.name;
  return "";
}

// A file in memory, unmapped with the last tensor that looks at it.
class Mapping {
 public:
  explicit Mapping(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail("cannot read {}: {}", path, std::strerror(errno));
    struct stat info {};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
      ::close(fd);
      fail("cannot read {}: it is not a file", path);
    }
    bytes_ = static_cast<size_t>(info.st_size);
    // Private and writable: a stray write changes a page of this process, not the file.
    void* mapped =
        bytes_ ? ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0) : nullptr;
    const int error = errno;
    ::close(fd);
    if (mapped == MAP_FAILED) fail("cannot map {}: {}", path, std::strerror(error));
    data_ = static_cast<std::byte*>(mapped);
  }
  ~Mapping() {
    if (data_) ::munmap(data_, bytes_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

struct Extent {
  uint64_t begin, end;  // bytes from the start of the elements
};

uint64_t natural(const Json& value, const std::string& path, const std::string& name, const char* what) {
  check(value.is_number_unsigned(), "{}: tensor {}: {} holds {}, which is no natural number", path, name, what,
        value.dump());
  return value.get<uint64_t>();
}

// One entry of the header, with everything in it checked but its place among the others.
std::pair<SafetensorsEntry, Extent> parse_entry(const std::string& name, const Json& value, uint64_t available,
                                                const std::string& path) {
  check(value.is_object() && value.contains("dtype") && value.contains("shape") && value.contains("data_offsets"),
        "{}: tensor {} must have dtype, shape and data_offsets", path, name);
  const Json &dtype = value["dtype"], &shape = value["shape"], &offsets = value["data_offsets"];
  SafetensorsEntry entry{.name = name};

  check(dtype.is_string(), "{}: tensor {}: the dtype is no text", path, name);
  const auto* known = std::find_if(std::begin(kFormatNames), std::end(kFormatNames),
                                   [&](const FormatName& f) { return f.name == dtype.get_ref<const std::string&>(); });
  check(known != std::end(kFormatNames),
        "{}: tensor {} is {}; only F32, BF16, F16, F8_E4M3, I32, I64, U8 and BOOL are read", path, name,
        dtype.get_ref<const std::string&>());
  entry.format = known->name;
  entry.dtype = known->dtype;

  check(shape.is_array(), "{}: tensor {}: the shape is no list", path, name);
  check(shape.size() <= Shape::kMaxRank, "{}: tensor {} has {} dimensions; at most {} are read", path, name,
        shape.size(), static_cast<int>(Shape::kMaxRank));
  int64_t dims[Shape::kMaxRank];
  uint64_t bytes = size_of(entry.dtype);
  bool fits = true;
  for (size_t i = 0; i < shape.size(); ++i) {
    const uint64_t extent = natural(shape[i], path, name, "the shape");
    fits = fits && extent <= uint64_t{INT64_MAX};
    dims[i] = static_cast<int64_t>(extent);
    fits = !__builtin_mul_overflow(bytes, extent, &bytes) && fits;
  }
  entry.shape = Shape(std::span<const int64_t>(dims, shape.size()));

  check(offsets.is_array() && offsets.size() == 2, "{}: tensor {}: data_offsets must be [begin, end]", path, name);
  const Extent extent{natural(offsets[0], path, name, "data_offsets"), natural(offsets[1], path, name, "data_offsets")};
  check(extent.begin <= extent.end && extent.end <= available,
        "{}: tensor {} lies at bytes {} to {}, but the file has {} of elements", path, name, extent.begin, extent.end,
        available);
  check(fits && bytes == extent.end - extent.begin, "{}: tensor {}: {} {} does not take the {} bytes it is given", path,
        name, entry.shape, entry.dtype, extent.end - extent.begin);
  return {std::move(entry), extent};
}

}  // namespace

struct Safetensors::File {
  explicit File(const std::string& p) : path(p), mapping(p) {}

  std::string path;
  Mapping mapping;
  std::vector<SafetensorsEntry> entries;
  std::vector<std::byte*> data;
  std::unordered_map<std::string, size_t> index;
  std::map<std::string, std::string> metadata;
};

Safetensors Safetensors::open(const std::string& path) {
  auto file = std::make_shared<File>(path);
  const size_t size = file->mapping.bytes();
  check(size >= 8, "{}: not a safetensors file: it has only {} bytes", path, size);
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, file->mapping.data(), 8);
  check(header_bytes <= kMaxHeader && header_bytes <= size - 8,
        "{}: the header claims {} bytes, but the file has {} after its length", path, header_bytes, size - 8);
  const std::string_view text(reinterpret_cast<const char*>(file->mapping.data()) + 8, header_bytes);
  check(text.starts_with('{'), "{}: not a safetensors file: its header does not begin with {{", path);
  const Json header = parse_json(text, path + ": header");
  std::byte* elements = file->mapping.data() + 8 + header_bytes;
  const uint64_t available = size - 8 - header_bytes;

  std::vector<std::pair<SafetensorsEntry, Extent>> found;
  for (const auto& [name, value] : header.items()) {
    if (name == "__metadata__") {
      check(value.is_object(), "{}: __metadata__ must be an object of texts", path);
      for (const auto& [key, text_value] : value.items()) {
        check(text_value.is_string(), "{}: __metadata__: {} is no text", path, key);
        file->metadata[key] = text_value.get<std::string>();
      }
    } else {
      found.push_back(parse_entry(name, value, available, path));
    }
  }

  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return std::tie(a.second.begin, a.second.end, a.first.name) < std::tie(b.second.begin, b.second.end, b.first.name);
  });
  uint64_t reached = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    const auto& [entry, extent] = found[i];
    check(extent.begin >= reached, "{}: tensors {} and {} overlap", path, found[i ? i - 1 : 0].first.name, entry.name);
    check(extent.begin == reached, "{}: {} bytes before tensor {} belong to none", path, extent.begin - reached,
          entry.name);
    reached = extent.end;
  }
  check(reached == available, "{}: {} bytes at the end belong to no tensor", path, available - reached);

  for (auto& [entry, extent] : found) {
    file->index.emplace(entry.name, file->entries.size());
    file->data.push_back(elements + extent.begin);
    file->entries.push_back(std::move(entry));
  }
  return Safetensors(std::move(file));
}

const std::string& Safetensors::path() const { return file_->path; }
const std::vector<SafetensorsEntry>& Safetensors::entries() const { return file_->entries; }
bool Safetensors::contains(const std::string& name) const { return file_->index.contains(name); }
const std::map<std::string, std::string>& Safetensors::metadata() const { return file_->metadata; }

Tensor Safetensors::tensor(const std::string& name) const {
  const auto it = file_->index.find(name);
  check(it != file_->index.end(), "{}: there is no tensor {}", file_->path, name);
  const SafetensorsEntry& entry = file_->entries[it->second];
  std::byte* data = file_->data[it->second];
  // A header of odd length puts elements where they cannot be read in place.
  if (reinterpret_cast<uintptr_t>(data) % size_of(entry.dtype) != 0) {
    Tensor copy = Tensor::empty(entry.shape, entry.dtype);
    std::memcpy(copy.raw(), data, copy.nbytes());
    return copy;
  }
  return Tensor::borrow(data, entry.shape, entry.dtype, Device::cpu(), file_);
}

void Safetensors::give_back(const std::string& name) const {
  const auto it = file_->index.find(name);
  check(it != file_->index.end(), "{}: there is no tensor {}", file_->path, name);
  const SafetensorsEntry& entry = file_->entries[it->second];
  // Whole pages only: what shares one with a neighbour may have been written to.
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(file_->data[it->second]);
  const uintptr_t begin = (first + page - 1) / page * page,
                  end = (first + static_cast<size_t>(entry.shape.numel()) * size_of(entry.dtype)) / page * page;
  if (begin < end)
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);  // where it fails, memory stays
}

void save_safetensors(const std::string& path, const NamedTensors& tensors,
                      const std::map<std::string, std::string>& metadata) {
  // Wide elements first: every tensor then begins at a multiple of its element, without gaps, which the format forbids.
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return size_of(tensors[a].second.dtype()) > size_of(tensors[b].second.dtype());
  });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  std::map<std::string, std::string> with_format = metadata;
  with_format.emplace("format", "pt");
  header["__metadata__"] = with_format;
  uint64_t offset = 0;
  std::set<std::string> names{"__metadata__"};
  for (size_t i : order) {
    const auto& [name, tensor] = tensors[i];
    check(tensor.defined(), "save {}: tensor {} is undefined", path, name);
    check(names.insert(name).second, "save {}: the name {} is taken twice", path, name);
    const uint64_t end = offset + tensor.nbytes();
    header.emplace(name,
                   nlohmann::ordered_json{{"dtype", format_name(tensor.dtype())},
                                          {"shape", std::vector<int64_t>(tensor.shape().begin(), tensor.shape().end())},
                                          {"data_offsets", {offset, end}}});
    offset = end;
  }

  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception& e) {
    fail("save {}: a name or metadata is not UTF-8: {}", path, e.what());
  }
  text.append((64 - (8 + text.size()) % 64) % 64, ' ');  // elements begin at a cache line of the mapping
  check(text.size() <= kMaxHeader, "save {}: a header of {} bytes is more than readers take", path, text.size());

  AtomicFile file(path);
  const uint64_t header_bytes = text.size();
  file.write(&header_bytes, 8);
  file.write(text);
  for (size_t i : order) {
    const Tensor data = tensors[i].second.contiguous().to(Device::cpu());
    file.write(data.raw(), data.nbytes());
  }
  file.commit();
}

}  // namespace tenon
