// Attention of bfloat16 on processors that multiply such numbers. The products are oneDNN's, by way of
// LibTorch, whose own attention computes in float on many of them, at a third of the speed. Logits stay in
// float; a block of queries has all of its logits at once, and numbers do not depend on how work is divided.
//
// With P = softmax(scale Q Kᵀ), O = P V and G the gradient in O, the gradients are (Dao et al. 2022,
// FlashAttention, arXiv:2205.14135)
//     dV = Pᵀ G,    D = scale P ∘ (G Vᵀ - Σ G ∘ O),    dQ = D K,    dK = Dᵀ Q.
#include "attention.hpp"

#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "attention_loops.hpp"

namespace reno::kernels {

namespace {

using c10::BFloat16;

constexpr std::int64_t block_rows = 32;        ///< queries whose logits are computed at once
constexpr std::int64_t tile_keys = 512;        ///< to which their logits are computed at once on the way back
constexpr std::int64_t product_depth = 1024;   ///< of one product, so that its factors fit in a core's cache
constexpr std::int64_t most_bytes = 64 << 20;  ///< of softmax that is kept at once on the way back

struct Sizes {
  std::int64_t images, heads, queries, keys, width;
  float scale;

  Sizes(const at::Tensor& query, const at::Tensor& key, std::int64_t heads, double scale)
      : images(query.size(0)),
        heads(heads),
        queries(query.size(1)),
        keys(key.size(1)),
        width(query.size(2) / heads),
        scale(static_cast<float>(scale)) {}

  std::int64_t all_heads() const { return images * heads; }
  std::int64_t key_panels() const { return (keys + panel - 1) / panel; }
  std::int64_t padded_keys() const { return key_panels() * panel; }
  std::int64_t even_keys() const { return keys + keys % 2; }
  std::int64_t even_queries() const { return queries + queries % 2; }
  std::int64_t blocks() const { return (queries + block_rows - 1) / block_rows; }
};

/// A tensor (N, length, heads · width), one head of one image at a time.
class Heads {
 public:
  Heads(const at::Tensor& x, const Sizes& sizes) : x_(x), heads_(sizes.heads), width_(sizes.width) {}

  Rows operator[](std::int64_t head) const {
    return {x_.const_data_ptr<BFloat16>() + offset(head), x_.stride(1), x_.size(1), width_};
  }
  BFloat16* row(std::int64_t head, std::int64_t row) const {
    return x_.mutable_data_ptr<BFloat16>() + offset(head) + row * x_.stride(1);
  }

 private:
  std::int64_t offset(std::int64_t head) const {
    return head / heads_ * x_.stride(0) + head % heads_ * width_;
  }

  at::Tensor x_;
  std::int64_t heads_, width_;
};

/// Memory for a matrix of each of several heads.
class Matrices {
 public:
  Matrices(std::int64_t heads, std::int64_t size)
      : memory_(at::empty({heads, size}, at::TensorOptions(at::kBFloat16))) {}
  BFloat16* operator[](std::int64_t head) const {
    return memory_.mutable_data_ptr<BFloat16>() + head * memory_.size(1);
  }

 private:
  at::Tensor memory_;
};

/// act(head, part) for all parts of all heads from `first` on, side by side; make() before, once in a thread,
/// for what is passed on to all its calls.
template <class Make, class Act>
void each_part(std::int64_t heads, std::int64_t parts, const Make& make, const Act& act) {
  at::parallel_for(0, heads * parts, 1, [&](std::int64_t begin, std::int64_t end) {
    auto scratch = make();
    for (std::int64_t i = begin; i < end; ++i) act(i / parts, i % parts, scratch);
    at::native::cpublas::brgemm_release();
  });
}

template <class Act>
void each_part(std::int64_t heads, std::int64_t parts, const Act& act) {
  const auto nothing = [] { return 0; };
  each_part(heads, parts, nothing, [&](std::int64_t head, std::int64_t part, int) { act(head, part); });
}

/// Some rows of a right factor, see attention_loops.hpp.
struct Right {
  const BFloat16* data;
  std::int64_t all;  ///< rows of the whole
  std::int64_t first = 0;
};

/// left (count, width) times `width` rows of the right factor, in float, (count, columns); `add`: to what is
/// there.
void multiply(Rows left, Right right, std::int64_t columns, float* to, bool add = false) {
  for (std::int64_t d = 0; d < left.width; d += product_depth)
    for (std::int64_t column = 0; column < columns; column += panel) {
      const std::int64_t width = std::min(panel, columns - column);
      at::native::cpublas::brgemm(left.count, width, std::min(product_depth, left.width - d), left.stride,
                                  width, columns, add || d > 0, left.data + d,
                                  right.data + column * right.all + (right.first + d) * width, to + column);
    }
}

/// What a thread computes a block of queries with, for so many keys at once.
struct Block {
  std::vector<float> logits, gradient, result;
  std::vector<BFloat16> rows, softmax, slopes;

  Block(const Sizes& sizes, std::int64_t keys)
      : logits(static_cast<std::size_t>(block_rows * keys)),
        result(static_cast<std::size_t>(block_rows * sizes.width)),
        rows(logits.size()) {}
};

struct Mixed {
  at::Tensor output, log_sums;
};

Mixed mix(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const Sizes& sizes) {
  const Mixed mixed{at::empty(query.sizes(), query.options()),
                    at::empty({sizes.images, sizes.heads, sizes.queries}, query.options().dtype(at::kFloat))};
  const Heads queries(query, sizes), keys(key, sizes), values(value, sizes), outputs(mixed.output, sizes);
  float* log_sums = mixed.log_sums.mutable_data_ptr<float>();
  const Matrices key_columns(sizes.all_heads(), sizes.padded_keys() * sizes.width);
  const Matrices value_rows(sizes.all_heads(), sizes.even_keys() * sizes.width);
  each_part(sizes.all_heads(), sizes.key_panels(), [&](std::int64_t head, std::int64_t part) {
    const std::int64_t first = part * panel;
    pack_columns(keys[head].part(first, panel), key_columns[head] + first * sizes.width);
    pack_rows(values[head].part(first, panel), first, sizes.even_keys(), value_rows[head]);
  });
  const auto make = [&] { return Block(sizes, sizes.padded_keys()); };
  each_part(sizes.all_heads(), sizes.blocks(), make, [&](std::int64_t head, std::int64_t part, Block& block) {
    const std::int64_t first = part * block_rows, padded = sizes.padded_keys();
    const Rows rows = queries[head].part(first, block_rows);
    float sums[block_rows];
    multiply(rows, {key_columns[head], sizes.width}, padded, block.logits.data());
    for (std::int64_t r = 0; r < rows.count; ++r)
      log_sums[head * sizes.queries + first + r] =
          exponentiate(block.logits.data() + r * padded, sizes.keys, padded, sizes.scale,
                       block.rows.data() + r * padded, sums[r]);
    multiply({block.rows.data(), padded, rows.count, sizes.even_keys()},
             {value_rows[head], sizes.even_keys()}, sizes.width, block.result.data());
    for (std::int64_t r = 0; r < rows.count; ++r)
      scale_row(block.result.data() + r * sizes.width, sizes.width, 1 / sums[r],
                outputs.row(head, first + r));
  });
  return mixed;
}

/// The way back of some heads of all.
class WayBack {
 public:
  struct Tensors {
    const at::Tensor &gradient, &query, &key, &value, &output, &log_sums;
  };
  struct Results {
    at::Tensor query, key, value;  ///< the latter two undefined where they are not wanted
  };

  WayBack(const Tensors& in, const Results& results, const Sizes& sizes, std::int64_t most_heads)
      : sizes_(sizes),
        of_keys_(results.key.defined()),
        gradients_(in.gradient, sizes),
        queries_(in.query, sizes),
        keys_(in.key, sizes),
        values_(in.value, sizes),
        outputs_(in.output, sizes),
        query_results_(results.query, sizes),
        key_results_(results.key, sizes),
        value_results_(results.value, sizes),
        log_sums_(in.log_sums.const_data_ptr<float>()),
        key_columns_(most_heads, sizes.padded_keys() * sizes.width),
        value_columns_(most_heads, sizes.padded_keys() * sizes.width),
        key_rows_(most_heads, sizes.even_keys() * sizes.width),
        gradients_transposed_(of_keys_ ? most_heads : 0, sizes.even_queries() * sizes.width),
        queries_transposed_(of_keys_ ? most_heads : 0, sizes.even_queries() * sizes.width),
        softmax_(of_keys_ ? most_heads : 0, sizes.even_queries() * sizes.padded_keys()),
        slopes_(of_keys_ ? most_heads : 0, sizes.even_queries() * sizes.padded_keys()) {}

  void of_heads(std::int64_t first, std::int64_t count) {
    first_head_ = first;
    each_part(count, sizes_.key_panels(),
              [&](std::int64_t head, std::int64_t part) { pack_keys(head, part * panel); });
    if (of_keys_)
      each_part(count, (sizes_.queries + panel - 1) / panel,
                [&](std::int64_t head, std::int64_t part) { transpose_queries(head, part * panel); });
    const auto make = [&] { return make_block(); };
    each_part(count, sizes_.blocks(), make, [&](std::int64_t head, std::int64_t part, Block& block) {
      of_queries(head, part * block_rows, block);
    });
    const auto make_result = [&] {
      return std::vector<float>(static_cast<std::size_t>(panel * sizes_.width));
    };
    if (of_keys_)
      each_part(count, sizes_.key_panels(), make_result,
                [&](std::int64_t head, std::int64_t part, std::vector<float>& result) {
                  of_key_panel(gradients_transposed_[head], softmax_[head], head, part, value_results_,
                               result);
                  of_key_panel(queries_transposed_[head], slopes_[head], head, part, key_results_, result);
                });
  }

 private:
  void pack_keys(std::int64_t head, std::int64_t first) {
    const Rows key = keys_[first_head_ + head].part(first, panel);
    pack_columns(key, key_columns_[head] + first * sizes_.width);
    pack_rows(key, first, sizes_.even_keys(), key_rows_[head]);
    pack_columns(values_[first_head_ + head].part(first, panel), value_columns_[head] + first * sizes_.width);
  }

  void transpose_queries(std::int64_t head, std::int64_t first) {
    const std::int64_t all = sizes_.even_queries();
    transpose(gradients_[first_head_ + head].part(first, panel), first, all, gradients_transposed_[head]);
    transpose(queries_[first_head_ + head].part(first, panel), first, all, queries_transposed_[head]);
  }

  Block make_block() const {
    Block block(sizes_, tile_keys);
    block.gradient.resize(block.logits.size());
    if (!of_keys_) {  // written all the same, for nobody
      block.softmax.resize(block.logits.size());
      block.slopes.resize(block.logits.size());
    }
    return block;
  }

  void of_queries(std::int64_t head, std::int64_t first, Block& block) {
    const std::int64_t all_head = first_head_ + head;
    const Rows query = queries_[all_head].part(first, block_rows);
    const Rows gradient = gradients_[all_head].part(first, block_rows);
    const Rows output = outputs_[all_head].part(first, block_rows);
    float means[block_rows];
    for (std::int64_t r = 0; r < query.count; ++r)
      means[r] = dot(gradient.data + r * gradient.stride, output.data + r * output.stride, sizes_.width);
    for (std::int64_t key = 0; key < sizes_.padded_keys(); key += tile_keys) {
      const std::int64_t keys = std::min(tile_keys, sizes_.padded_keys() - key);
      multiply(query, {key_columns_[head] + key * sizes_.width, sizes_.width}, keys, block.logits.data());
      multiply(gradient, {value_columns_[head] + key * sizes_.width, sizes_.width}, keys,
               block.gradient.data());
      differentiate_tile(head, first, query.count, key, keys, means, block);
      multiply({block.rows.data(), keys, query.count, std::min(keys, sizes_.even_keys() - key)},
               {key_rows_[head], sizes_.even_keys(), key}, sizes_.width, block.result.data(), key > 0);
    }
    for (std::int64_t r = 0; r < query.count; ++r)
      scale_row(block.result.data() + r * sizes_.width, sizes_.width, 1,
                query_results_.row(all_head, first + r));
  }

  /// `rows` queries from `first` on and `keys` keys from `key` on.
  void differentiate_tile(std::int64_t head, std::int64_t first, std::int64_t rows, std::int64_t key,
                          std::int64_t keys, const float* means, Block& block) {
    const auto terms = [&](std::int64_t r) {
      float* logits = block.logits.data() + r * keys;
      float* slopes = block.gradient.data() + r * keys;
      if (r < rows)
        return RowTerms{logits, slopes, log_sums_[(first_head_ + head) * sizes_.queries + first + r],
                        means[r]};
      std::fill_n(logits, keys, 0.f);  // the second row of a pair that has none, which meets zeros
      std::fill_n(slopes, keys, 0.f);
      return RowTerms{logits, slopes, 0, 0};
    };
    const std::int64_t all = of_keys_ ? sizes_.even_queries() : block_rows;
    BFloat16* softmax = of_keys_ ? softmax_[head] + key * all : block.softmax.data();
    BFloat16* slopes = of_keys_ ? slopes_[head] + key * all : block.slopes.data();
    for (std::int64_t r = 0; r < rows; r += 2)
      differentiate(terms(r), terms(r + 1), sizes_.keys - key, keys, sizes_.scale,
                    ((of_keys_ ? first : 0) + r) / 2, all, softmax, slopes, block.rows.data() + r * keys,
                    block.rows.data() + (r + 1) * keys);
  }

  /// left (width, queries) times a panel of the right factor (queries, keys), turned into rows.
  void of_key_panel(const BFloat16* left, const BFloat16* right, std::int64_t head, std::int64_t part,
                    const Heads& to, std::vector<float>& result) {
    const std::int64_t all = sizes_.even_queries(), first = part * panel;
    multiply({left, all, sizes_.width, all}, {right + first * all, all}, panel, result.data());
    for (std::int64_t key = first; key < std::min(first + panel, sizes_.keys); ++key) {
      BFloat16* row = to.row(first_head_ + head, key);
      for (std::int64_t c = 0; c < sizes_.width; ++c)
        row[c] = BFloat16(result[static_cast<std::size_t>(c * panel + key - first)]);
    }
  }

  Sizes sizes_;
  bool of_keys_;
  std::int64_t first_head_ = 0;
  Heads gradients_, queries_, keys_, values_, outputs_, query_results_, key_results_, value_results_;
  const float* log_sums_;
  Matrices key_columns_, value_columns_, key_rows_, gradients_transposed_, queries_transposed_, softmax_,
      slopes_;
};

void check(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, std::int64_t heads) {
  for (const auto& x : {query, key, value})
    TORCH_CHECK(x.dim() == 3 && x.scalar_type() == at::kBFloat16 && x.stride(2) == 1 && x.numel() > 0,
                "reno::attention: expected bfloat16 of three dimensions, the last contiguous");
  TORCH_CHECK(heads > 0 && query.size(2) % (2 * heads) == 0, "reno::attention: ", query.size(2),
              " channels cannot be divided into ", heads, " heads of even width");
  TORCH_CHECK(key.sizes() == value.sizes() && key.size(0) == query.size(0) && key.size(2) == query.size(2),
              "reno::attention: queries of shape ", query.sizes(), " do not fit keys of ", key.sizes(),
              " and values of ", value.sizes());
}

}  // namespace

bool multiplies_bfloat16() {
#if defined(__x86_64__) && defined(__GNUC__)
  if (!__builtin_cpu_supports("avx512bf16")) return false;
  try {  // oneDNN may have been told to use less than there is
    const std::vector<BFloat16> factor(2 * panel, BFloat16(1));
    std::vector<float> product(panel);
    multiply({factor.data(), 2, 1, 2}, {factor.data(), 2}, panel, product.data());
    at::native::cpublas::brgemm_release();
    return true;
  } catch (const c10::Error&) {
    return false;
  }
#else
  return false;
#endif
}

std::tuple<at::Tensor, at::Tensor> attention(const at::Tensor& query, const at::Tensor& key,
                                             const at::Tensor& value, std::int64_t heads, double scale) {
  check(query, key, value, heads);
  const auto [output, log_sums] = mix(query, key, value, Sizes(query, key, heads, scale));
  return {output, log_sums};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(
    const at::Tensor& gradient, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
    const at::Tensor& output, const at::Tensor& log_sums, std::int64_t heads, double scale, bool of_keys) {
  check(query, key, value, heads);
  for (const auto& x : {gradient, output})
    TORCH_CHECK(x.sizes() == query.sizes() && x.scalar_type() == at::kBFloat16,
                "reno::attention_backward: gradient and output must be like the queries");
  const Sizes sizes(query, key, heads, scale);
  TORCH_CHECK(log_sums.sizes() == at::IntArrayRef({sizes.images, heads, sizes.queries}) &&
                  log_sums.scalar_type() == at::kFloat && log_sums.is_contiguous(),
              "reno::attention_backward: log_sums must be what reno::attention returned");
  const auto like = [](const at::Tensor& x) { return at::empty(x.sizes(), x.options()); };
  const WayBack::Results results{like(query), of_keys ? like(key) : at::Tensor(),
                                 of_keys ? like(value) : at::Tensor()};
  const at::Tensor incoming = gradient.contiguous(), mixed = output.contiguous();
  const std::int64_t bytes_per_head = 2 * sizes.even_queries() * sizes.padded_keys() * 2;
  const std::int64_t at_once = std::clamp(most_bytes / bytes_per_head, std::int64_t{1}, sizes.all_heads());
  WayBack back({incoming, query, key, value, mixed, log_sums}, results, sizes, at_once);
  for (std::int64_t first = 0; first < sizes.all_heads(); first += at_once)
    back.of_heads(first, std::min(at_once, sizes.all_heads() - first));
  return {results.query, results.key, results.value};
}

}  // namespace reno::kernels
