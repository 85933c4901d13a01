// A SentencePiece model as T5 has it (spiece.model): a protocol buffer (sentencepiece_model.proto) with the
// pieces and their scores, and with rules for characters. It is data from strangers and is checked as such.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "reno/error.hpp"
#include "reno/io/json_file.hpp"
#include "reno/text/sentencepiece_charsmap.hpp"

namespace reno::text {

namespace detail {

/// One field of a protocol buffer's message.
struct ProtobufField {
  std::uint64_t number = 0;
  std::uint64_t value = 0;  ///< of a number; the bits of a float
  std::string_view bytes;   ///< of a string or a message; empty otherwise
};

/// Calls `visit(field)` for each field of a message; false if its bytes are not one. The deprecated groups
/// do not occur in models.
template <class Visit>
bool for_each_protobuf_field(std::string_view message, Visit visit) {
  const auto varint = [&](std::uint64_t& value) {
    value = 0;
    for (unsigned shift = 0; shift < 64 && !message.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(message.front());
      message.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return true;
    }
    return false;
  };
  while (!message.empty()) {
    ProtobufField field;
    std::uint64_t tag = 0, size = 0;
    if (!varint(tag) || (tag >> 3) == 0 || (tag >> 32) != 0) return false;
    field.number = tag >> 3;
    switch (tag & 7) {
      case 0:
        if (!varint(field.value)) return false;
        break;
      case 1:
        size = 8;
        break;
      case 2:
        if (!varint(size)) return false;
        break;
      case 5:
        size = 4;
        break;
      default:
        return false;
    }
    if (size > message.size()) return false;
    if ((tag & 7) == 2) field.bytes = message.substr(0, size);
    if ((tag & 7) == 5) std::memcpy(&field.value, message.data(), size);  // little-endian, as this machine
    message.remove_prefix(size);
    visit(field);
  }
  return true;
}

}  // namespace detail

/// What a piece is for. `byte` stands for a byte of what has no piece; T5 has none of those.
enum class PieceType : std::uint8_t { normal = 1, unknown, control, user_defined, unused, byte };

struct SentencePiece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;
};

/// A unigram model (Kudo 2018), complete and in order: one unknown piece, no piece twice, none empty.
struct SentencePieceModel {
  std::vector<SentencePiece> pieces;  ///< by id
  std::int64_t unknown_id = -1;
  SentencePieceCharsmap charsmap;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

namespace detail {

/// Reads the sections of a model; throws LoadError, naming `file`.
class SentencePieceModelReader {
 public:
  explicit SentencePieceModelReader(const std::string& file) : file_(file) {}

  SentencePieceModel read(std::string_view bytes) {
    const bool whole = for_each_protobuf_field(bytes, [&](const ProtobufField& field) {
      switch (field.number) {
        case 1:
          return read_piece(field.bytes);
        case 2:
          return read_trainer(field.bytes);
        case 3:
          return read_normalizer(field.bytes);
        default:
          return;
      }
    });
    if (!whole || damaged_ || !trainer_ || !normalizer_)
      fail("is not a SentencePiece model, or not all of one; is the download complete?");
    if (model_type_ != 1)
      fail("is a SentencePiece model of another type, expected a unigram model as T5 has");
    if (unusual_) fail("has byte pieces or white space behind words, which T5's tokenizer has not");
    check_pieces();
    return std::move(model_);
  }

 private:
  [[noreturn]] void fail(const std::string& problem) const { throw LoadError(file_ + ": " + problem); }

  template <class Visit>
  void read_section(std::string_view bytes, Visit visit) {
    if (!for_each_protobuf_field(bytes, visit)) damaged_ = true;
  }

  void read_piece(std::string_view bytes) {
    SentencePiece piece;
    read_section(bytes, [&](const ProtobufField& field) {
      if (field.number == 1) piece.text = field.bytes;
      if (field.number == 2) piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
      if (field.number == 3) {
        damaged_ = damaged_ || field.value < 1 || field.value > 6;
        piece.type = static_cast<PieceType>(field.value);
      }
    });
    unusual_ = unusual_ || piece.type == PieceType::byte;
    model_.pieces.push_back(std::move(piece));
  }

  void read_trainer(std::string_view bytes) {
    trainer_ = true;
    read_section(bytes, [&](const ProtobufField& field) {
      if (field.number == 3) model_type_ = field.value;
      if (field.number == 24 || field.number == 35) unusual_ = unusual_ || field.value != 0;
    });
  }

  void read_normalizer(std::string_view bytes) {
    normalizer_ = true;
    read_section(bytes, [&](const ProtobufField& field) {
      if (field.number == 2 && !field.bytes.empty()) {
        auto charsmap = SentencePieceCharsmap::read(field.bytes);
        if (!charsmap)
          fail("is damaged: the rules for characters (precompiled_charsmap) point outside of themselves");
        model_.charsmap = *std::move(charsmap);
      }
      if (field.number == 3) model_.add_dummy_prefix = field.value != 0;
      if (field.number == 4) model_.remove_extra_whitespaces = field.value != 0;
      if (field.number == 5) model_.escape_whitespaces = field.value != 0;
    });
  }

  void check_pieces() {
    std::unordered_set<std::string_view> words, reserved;
    for (std::size_t id = 0; id < model_.pieces.size(); ++id) {
      const auto& [text, score, type] = model_.pieces[id];
      const bool word = type != PieceType::unknown && type != PieceType::control;
      if (text.empty()) fail("has an empty piece, number " + std::to_string(id));
      if (!(word ? words : reserved).insert(text).second) fail("has the piece " + in_quotes(text) + " twice");
      if (type != PieceType::unknown) continue;
      if (model_.unknown_id >= 0) fail("has two pieces for what is unknown");
      model_.unknown_id = static_cast<std::int64_t>(id);
    }
    if (model_.unknown_id < 0) fail("has no piece for what is unknown");
    if (words.empty()) fail("has no pieces of text");
  }

  const std::string& file_;
  SentencePieceModel model_;
  std::uint64_t model_type_ = 1;
  bool trainer_ = false, normalizer_ = false, damaged_ = false, unusual_ = false;
};

}  // namespace detail

/// Throws LoadError, naming `file`, unless `bytes` are a complete unigram model.
inline SentencePieceModel read_sentencepiece_model(std::string_view bytes, const std::string& file) {
  return detail::SentencePieceModelReader(file).read(bytes);
}

}  // namespace reno::text
