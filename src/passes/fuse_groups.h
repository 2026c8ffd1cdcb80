// The groups of ops that fuse() makes of one region; internal to fuse*.cc. fuse.cc decides op by
// op, last to first, fuse_fits.cc whether an op can join a group, fuse_materialize.cc writes the
// fusions, of which fuse_merge.cc makes fewer.
#pragma once

#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fusion/index_map.h"
#include "passes/fuse.h"
#include "passes/fuse_classify.h"

namespace jaxmps::passes {

using fusion::IndexMap;

struct Member {
  int op;
  std::optional<IndexMap> map;  // in the group's walked shape; nothing: read at moved positions
  bool is_gathered = false;     // read through a gather
};

// Ops that will be one fusion. Groups are placed where their last op is: an edge from one group (or
// lone op) to another always leads to a later place, so the result has no cycles.
struct Group {
  int place;
  ir::Dims shape;             // walked
  std::vector<bool> reduced;  // per dimension; empty: no reduction
  std::vector<Member> members;
  std::unordered_set<const ir::Value*> inputs;
  int ops = 0;  // members that are no constants
  int outputs = 0;
  bool has_element_root = false;  // some result has the walked shape
};

struct OpInfo {
  ir::Op* op;
  FuseClass kind;
  std::string_view why;
  std::vector<int> groups;
  bool stays = true;        // also runs (or would run) outside of every group
  bool recomputed = false;  // by each of its groups
};

class RegionFuser {
 public:
  RegionFuser(ir::Region* region, const ir::Target& target, const FuseOptions& options)
      : region_(*region), target_(target), options_(options) {}
  Status run();

 private:
  struct Readers {
    std::vector<int> groups;  // that read a result of the op
    bool others = false;      // something outside of all groups does, too
  };
  // How a group reads an op.
  struct Reading {
    std::optional<IndexMap> map;  // nothing: at moved positions
    bool is_gathered = false;     // through a gather
  };

  int place_of(const ir::Op* user) const;
  void visit(int index);
  bool visit_copied(int index);
  bool visit_recomputed(int index);
  Readers readers_of(const ir::Op& op) const;
  bool is_recomputed(const ir::Op& op, int last_place) const;
  bool is_read_by_fusions(const ir::Value& value) const;
  bool is_alive_at(const ir::Value& value, int place) const;
  bool is_constant(const ir::Value& value) const;
  void add_inputs(const ir::Op& op, Group* g) const;
  bool join(int index, int group, bool as_output);
  bool found(int index);
  bool fits(int index, const Group& g, bool as_output, Member* member);
  bool fits_reduce(const ir::Op& op, Group* g, const std::optional<IndexMap>& map);
  bool is_reread(const ir::Op& reduce, const Group& g) const;
  bool has_short_slices(const ir::Op& gather, const Group& g) const;
  bool fits_once(const OpInfo& info, const std::optional<IndexMap>& map, const Group& g);
  bool walk_reduction(const ir::Op& op, Group* g);
  std::optional<Reading> reading_of(const ir::Op& op, const Group& g) const;
  std::optional<IndexMap> operand_map(const ir::Op& user, int operand,
                                      const std::optional<IndexMap>& map, const Group& g) const;
  const Member* member(const Group& g, int op) const;
  int index_of(const ir::Op* op) const;
  bool is_updated(const ir::Op& op, const Group& g);
  static bool is_worth_a_kernel(const OpInfo& info);
  bool worthwhile(const Group& g) const;
  bool ends_reduction(const ir::Op& op) const;
  bool is_elsewhere_too(const ir::Op* op) const;
  void materialize();
  void materialize(const Group& g);
  Status describe(ir::Op* fusion);
  void clean_up();
  void open_barriers();
  void merge();
  void note(const ir::Op& op, std::string_view text);

  ir::Region& region_;
  const ir::Target& target_;
  const FuseOptions& options_;
  std::vector<OpInfo> ops_;
  std::unordered_map<const ir::Op*, int> index_;
  std::vector<Group> groups_;
  std::string_view refusal_;
  bool refused_gather_ = false;  // with a group that had one
  bool refused_group_ = false;   // of several ops
};

std::vector<bool> reduced_dims(const ir::Op& reduce);
// The walked dimensions that are not reduced, as the map of a reduction's result.
IndexMap kept_map(const std::vector<bool>& reduced);

}  // namespace jaxmps::passes
