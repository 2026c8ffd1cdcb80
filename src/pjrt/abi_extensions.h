// The extension nodes this plugin chains behind PJRT_Api.extension_start, and their argument
// structs. Same rules as abi.h; a node's struct_size covers the whole node, and every function up
// to it must be there.
#pragma once

#include "pjrt/abi.h"

// ---- Profiler: an interface of its own inside PJRT, with its own errors ----

struct PLUGIN_Profiler;
struct PLUGIN_Profiler_Error;
struct PLUGIN_Profiler_ConsumeResult;

struct PLUGIN_Profiler_Error_Destroy_Args {
  size_t struct_size;
  void* priv;
  PLUGIN_Profiler_Error* error;
};
struct PLUGIN_Profiler_Error_Message_Args {
  size_t struct_size;
  void* priv;
  PLUGIN_Profiler_Error* error;
  /*out*/ const char* message;
  /*out*/ size_t message_size;
};
struct PLUGIN_Profiler_Error_GetCode_Args {
  size_t struct_size;
  void* priv;
  const PLUGIN_Profiler_Error* error;
  /*out*/ int code;
};
struct PLUGIN_Profiler_Create_Args {
  size_t struct_size;
  const char* options;
  size_t options_size;
  /*out*/ PLUGIN_Profiler* profiler;
};
struct PLUGIN_Profiler_Destroy_Args {
  size_t struct_size;
  PLUGIN_Profiler* profiler;
};
struct PLUGIN_Profiler_Start_Args {
  size_t struct_size;
  PLUGIN_Profiler* profiler;
};
struct PLUGIN_Profiler_Stop_Args {
  size_t struct_size;
  PLUGIN_Profiler* profiler;
};
// Called twice: with a null buffer for the size, then with a buffer of that size.
struct PLUGIN_Profiler_CollectData_Args {
  size_t struct_size;
  PLUGIN_Profiler* profiler;
  /*out*/ uint8_t* buffer;
  /*out*/ size_t buffer_size_in_bytes;
};
struct PLUGIN_Profiler_Consume_Args {
  size_t struct_size;
  PLUGIN_Profiler* profiler;
  /*out*/ PLUGIN_Profiler_ConsumeResult* result;
};
struct PLUGIN_Profiler_ConsumeResult_Destroy_Args {
  size_t struct_size;
  PLUGIN_Profiler_ConsumeResult* consume_result;
};
struct PLUGIN_Profiler_Serialize_Args {
  size_t struct_size;
  PLUGIN_Profiler* profiler;
  PLUGIN_Profiler_ConsumeResult* consume_result;
  /*out*/ char* serialized_bytes;
  /*out*/ size_t serialized_size;
};

struct PLUGIN_Profiler_Api {
  size_t struct_size;
  void* priv;
  void (*error_destroy)(PLUGIN_Profiler_Error_Destroy_Args* args);
  void (*error_message)(PLUGIN_Profiler_Error_Message_Args* args);
  PLUGIN_Profiler_Error* (*error_get_code)(PLUGIN_Profiler_Error_GetCode_Args* args);
  PLUGIN_Profiler_Error* (*create)(PLUGIN_Profiler_Create_Args* args);
  PLUGIN_Profiler_Error* (*destroy)(PLUGIN_Profiler_Destroy_Args* args);
  PLUGIN_Profiler_Error* (*start)(PLUGIN_Profiler_Start_Args* args);
  PLUGIN_Profiler_Error* (*stop)(PLUGIN_Profiler_Stop_Args* args);
  PLUGIN_Profiler_Error* (*collect_data)(PLUGIN_Profiler_CollectData_Args* args);
  PLUGIN_Profiler_Error* (*consume)(PLUGIN_Profiler_Consume_Args* args);
  PLUGIN_Profiler_Error* (*consume_result_destroy)(
      PLUGIN_Profiler_ConsumeResult_Destroy_Args* args);
  PLUGIN_Profiler_Error* (*serialize)(PLUGIN_Profiler_Serialize_Args* args);
};

struct PJRT_Profiler_Extension {
  PJRT_Extension_Base base;
  PLUGIN_Profiler_Api* profiler_api;
  int64_t traceme_context_id;
};

// ---- Layouts ----

struct PJRT_Layouts_MemoryLayout;
struct PJRT_Layouts_SerializedLayout;

struct PJRT_Layouts_MemoryLayout_Destroy_Args {
  PJRT_HEAD;
  PJRT_Layouts_MemoryLayout* layout;
};
struct PJRT_Layouts_MemoryLayout_Serialize_Args {
  PJRT_HEAD;
  PJRT_Layouts_MemoryLayout* layout;
  /*out*/ const char* serialized_bytes;
  /*out*/ size_t serialized_bytes_size;
  /*out*/ PJRT_Layouts_SerializedLayout* serialized_layout;
  /*out*/ void (*serialized_layout_deleter)(PJRT_Layouts_SerializedLayout* layout);
};
struct PJRT_Layouts_PJRT_Client_GetDefaultLayout_Args {
  PJRT_HEAD;
  PJRT_Client* client;
  PJRT_Buffer_Type type;
  const int64_t* dims;
  size_t num_dims;
  /*out*/ PJRT_Layouts_MemoryLayout* layout;
};
struct PJRT_Layouts_PJRT_Buffer_MemoryLayout_Args {
  PJRT_HEAD;
  PJRT_Buffer* buffer;
  /*out*/ PJRT_Layouts_MemoryLayout* layout;
};
struct PJRT_Layouts_PJRT_Topology_GetDefaultLayout_Args {
  PJRT_HEAD;
  PJRT_TopologyDescription* topology_description;
  PJRT_Buffer_Type type;
  const int64_t* dims;
  size_t num_dims;
  /*out*/ PJRT_Layouts_MemoryLayout* layout;
};
struct PJRT_Layouts_PJRT_Executable_GetOutputLayouts_Args {
  PJRT_HEAD;
  PJRT_Executable* executable;
  /*out*/ size_t num_outputs;
  /*out*/ PJRT_Layouts_MemoryLayout** layouts;
};
struct PJRT_Layouts_PJRT_Executable_GetParameterLayouts_Args {
  PJRT_HEAD;
  PJRT_Executable* executable;
  /*out*/ size_t num_parameters;
  /*out*/ PJRT_Layouts_MemoryLayout** layouts;
};

struct PJRT_Layouts_Extension {
  PJRT_Extension_Base base;
#define PJRT_LAYOUTS_FUNCTION(name) \
  PJRT_Error* (*PJRT_Layouts_##name)(PJRT_Layouts_##name##_Args * args)
  PJRT_LAYOUTS_FUNCTION(MemoryLayout_Destroy);
  PJRT_LAYOUTS_FUNCTION(MemoryLayout_Serialize);
  PJRT_LAYOUTS_FUNCTION(PJRT_Client_GetDefaultLayout);
  PJRT_LAYOUTS_FUNCTION(PJRT_Buffer_MemoryLayout);
  PJRT_LAYOUTS_FUNCTION(PJRT_Topology_GetDefaultLayout);
  PJRT_LAYOUTS_FUNCTION(PJRT_Executable_GetOutputLayouts);
  PJRT_LAYOUTS_FUNCTION(PJRT_Executable_GetParameterLayouts);
#undef PJRT_LAYOUTS_FUNCTION
};

// ---- Shardings ----

struct PJRT_Shardings_PJRT_Executable_ParameterShardings_Args {
  PJRT_HEAD;
  PJRT_Executable* executable;
  /*out*/ size_t num_parameters;
  /*out*/ const char* const* shardings;
  /*out*/ const size_t* sharding_sizes;
};
struct PJRT_Shardings_PJRT_Executable_OutputShardings_Args {
  PJRT_HEAD;
  PJRT_Executable* executable;
  /*out*/ size_t num_outputs;
  /*out*/ const char* const* shardings;
  /*out*/ const size_t* sharding_sizes;
};

struct PJRT_Shardings_Extension {
  PJRT_Extension_Base base;
  PJRT_Error* (*PJRT_Shardings_PJRT_Executable_ParameterShardings)(
      PJRT_Shardings_PJRT_Executable_ParameterShardings_Args* args);
  PJRT_Error* (*PJRT_Shardings_PJRT_Executable_OutputShardings)(
      PJRT_Shardings_PJRT_Executable_OutputShardings_Args* args);
};

// ---- MemoryDescriptions ----

struct PJRT_MemoryDescription;

struct PJRT_DeviceDescription_MemoryDescriptions_Args {
  PJRT_HEAD;
  PJRT_DeviceDescription* device_description;
  /*out*/ const PJRT_MemoryDescription* const* memory_descriptions;
  /*out*/ size_t num_memory_descriptions;
  /*out*/ size_t default_memory_index;
};
struct PJRT_MemoryDescription_Kind_Args {
  PJRT_HEAD;
  const PJRT_MemoryDescription* memory_description;
  /*out*/ const char* kind;
  /*out*/ size_t kind_size;
  /*out*/ int kind_id;
};

struct PJRT_MemoryDescriptions_Extension {
  PJRT_Extension_Base base;
  PJRT_Error* (*PJRT_DeviceDescription_MemoryDescriptions)(
      PJRT_DeviceDescription_MemoryDescriptions_Args* args);
  PJRT_Error* (*PJRT_MemoryDescription_Kind)(PJRT_MemoryDescription_Kind_Args* args);
};

static_assert(sizeof(PLUGIN_Profiler_Api) == 104);
static_assert(sizeof(PJRT_Profiler_Extension) == 40);
static_assert(sizeof(PJRT_Layouts_Extension) == 80);
static_assert(sizeof(PJRT_Shardings_Extension) == 40);
static_assert(sizeof(PJRT_MemoryDescriptions_Extension) == 40);
