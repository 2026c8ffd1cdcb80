// Who owns the memory of buffers, and what may be done with it.
#include "exec/buffer.h"

#include <gtest/gtest.h>

#include <numeric>

#include "exec/memory.h"

namespace jaxmps::exec {
namespace {

using Memory = Payload::Memory;

Device* device() { return devices().value()->front(); }

ir::Type vector_type(int64_t size) { return ir::Type(ir::DType::f32, {size}); }

mx::array filled(float value, int size = 4) {
  mx::array out = new_array({size}, mx::float32);
  std::fill_n(out.data<float>(), size, value);
  return out;
}

// Memory of a client, and whether it was given back.
struct Client {
  alignas(64) float data[4] = {1, 2, 3, 4};
  bool is_released = false;

  mx::array borrow() {
    return exec::borrow(data, {4}, mx::float32, [this] { is_released = true; });
  }
};

TEST(Ownership, BorrowedMemoryBecomesACopy) {
  Client client;
  if (!can_borrow(client.data)) GTEST_SKIP() << "MLX's allocator takes no foreign memory";
  Payload payload(client.borrow(), Memory::borrowed);
  EXPECT_TRUE(payload.is_borrowed());
  EXPECT_EQ(payload.value().data<float>(), client.data);
  client.data[0] = 7;
  ASSERT_TRUE(payload.own().ok());
  EXPECT_FALSE(payload.is_borrowed());
  EXPECT_TRUE(client.is_released);
  client.data[0] = 9;
  EXPECT_EQ(payload.value().data<float>()[0], 7);
  const void* address = payload.address();
  ASSERT_TRUE(payload.own().ok());  // it is by now
  EXPECT_EQ(payload.address(), address);
}

TEST(Ownership, AnAddressThatWasGivenOutStaysGood) {
  Client client;
  if (!can_borrow(client.data)) GTEST_SKIP() << "MLX's allocator takes no foreign memory";
  {
    Payload payload(client.borrow(), Memory::borrowed);
    EXPECT_EQ(payload.address(), client.data);
    ASSERT_TRUE(payload.own().ok());
    EXPECT_NE(payload.value().data<float>(), client.data);
    EXPECT_FALSE(client.is_released);
  }
  EXPECT_TRUE(client.is_released);
}

TEST(Ownership, OnlyTheLastHolderGivesItsMemoryUp) {
  auto payload = std::make_shared<Payload>(filled(1));
  const float* data = payload->value().data<float>();
  PayloadPtr other = payload;
  std::vector<mx::array> borrowed;
  {
    const mx::array kept = Payload::take(payload, borrowed);
    EXPECT_EQ(kept.data<float>(), data);
    EXPECT_EQ(other->value().data<float>(), data);
  }
  other = nullptr;
  const mx::array taken = Payload::take(payload, borrowed);
  EXPECT_EQ(taken.data<float>(), data);
  EXPECT_EQ(taken.data_shared_ptr().use_count(), 1);
  EXPECT_TRUE(borrowed.empty());
}

// Another thread may copy the memory and let go of it while the execution runs.
TEST(Ownership, BorrowedMemoryIsNotGivenUp) {
  Client client;
  if (!can_borrow(client.data)) GTEST_SKIP() << "MLX's allocator takes no foreign memory";
  auto payload = std::make_shared<Payload>(client.borrow(), Memory::borrowed);
  std::vector<mx::array> borrowed;
  const mx::array taken = Payload::take(payload, borrowed);
  ASSERT_TRUE(payload->own().ok());
  ASSERT_EQ(borrowed.size(), 1u);
  EXPECT_EQ(borrowed[0].id(), taken.id());
  EXPECT_FALSE(client.is_released);
  EXPECT_EQ(Payload::take(payload, borrowed).data<float>()[2], 3);
  EXPECT_EQ(borrowed.size(), 1u);
}

TEST(Ownership, DonatedBuffersAreGone) {
  auto buffer = Buffer::ready(device(), vector_type(4), filled(1));
  PayloadPtr payload = buffer->donate().value();
  EXPECT_EQ(payload.use_count(), 1);
  EXPECT_TRUE(buffer->is_deleted());
  for (const Status& status : {buffer->hold(), buffer->ready_event().await(),
                               buffer->copy_to_host(nullptr, 0, 0).await()}) {
    ASSERT_FALSE(status.ok());
    EXPECT_NE(status.error().text.find("was donated"), std::string::npos) << status.error().text;
  }
  EXPECT_FALSE(buffer->donate().ok());
  EXPECT_FALSE(buffer->host_pointer().ok());
}

TEST(Ownership, ReferencesOfTheClientKeepDonatedMemory) {
  auto buffer = Buffer::ready(device(), vector_type(4), filled(1));
  ASSERT_TRUE(buffer->hold().ok());
  PayloadPtr payload = buffer->donate().value();
  EXPECT_EQ(payload.use_count(), 2);
  buffer->delete_storage();
  EXPECT_EQ(payload.use_count(), 2);
  buffer->release_hold();
  EXPECT_EQ(payload.use_count(), 1);
}

TEST(Ownership, SharedMemoryIsTheSameBytes) {
  mx::array source = new_array({2, 3}, mx::int32);
  std::iota(source.data<int32_t>(), source.data<int32_t>() + 6, 0);
  mx::array part = share(source, {2}, mx::int32, 4);
  EXPECT_EQ(part.data<int32_t>()[1], 5);
  EXPECT_TRUE(part.flags().row_contiguous);
  EXPECT_EQ(share(source, {3, 4}, mx::int16).strides(), (mx::Strides{4, 1}));
  const mx::array copy = copy_of(part);
  EXPECT_EQ(copy.data<int32_t>()[1], 5);
  EXPECT_NE(copy.data<int32_t>(), part.data<int32_t>());
}

// A producer that fails: whoever reads gets its error, by every route.
TEST(Ownership, EveryRouteGivesTheErrorOfTheProducer) {
  auto buffer = Buffer::pending(device(), vector_type(4));
  float out[4];
  Event read = buffer->copy_to_host(out, 0, sizeof(out)), ready = buffer->ready_event();
  EXPECT_FALSE(read.is_set());
  buffer->payload().value()->ready.set(Error(Code::data_loss, "the producer failed"));
  EXPECT_TRUE(buffer->hold().ok());
  for (const Status& status : {read.await(), ready.await(), buffer->ready_event().await(),
                               buffer->copy_to_host(out, 0, sizeof(out)).await()}) {
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.error().text, "the producer failed");
  }
  auto pointer = buffer->host_pointer();
  ASSERT_FALSE(pointer.ok());
  EXPECT_EQ(pointer.error().text, "the producer failed");
}

}  // namespace
}  // namespace jaxmps::exec
