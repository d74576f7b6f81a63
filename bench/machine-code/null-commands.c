/*
 * A Vulkan driver around another one (REAL_ICD), whose commands and submissions do nothing: a driver of a device that is not there
 * compiles pipelines to the end, but lacks what its command buffers need. It begins none of them, and says that all went well.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef void (*function)(void);
typedef function (*getter)(void *, const char *);

static void *driver;
static getter of_instance, of_device;

static int32_t succeed(void) { return 0; }
static void nothing(void) {}

static void *symbol(const char *name) {
  if (!driver) driver = dlopen(getenv("REAL_ICD"), RTLD_NOW | RTLD_LOCAL);
  return driver ? dlsym(driver, name) : 0;
}

static function replaced(const char *name) {
  static const char *const succeeding[] = {
    "vkBeginCommandBuffer", "vkEndCommandBuffer", "vkResetCommandBuffer", "vkResetCommandPool", "vkQueueSubmit", "vkQueueSubmit2",
  };
  for (unsigned i = 0; i < sizeof succeeding / sizeof *succeeding; i++)
    if (!strcmp(name, succeeding[i])) return (function)succeed;
  return strncmp(name, "vkCmd", 5) ? 0 : nothing;
}

static function device_function(void *device, const char *name) {
  function found = replaced(name);
  return found ? found : of_device(device, name);
}

function vk_icdGetInstanceProcAddr(void *instance, const char *name) {
  if (!of_instance) of_instance = (getter)symbol("vk_icdGetInstanceProcAddr");
  if (!of_instance) return 0;
  if (!strcmp(name, "vkGetDeviceProcAddr")) {
    of_device = (getter)of_instance(instance, name);
    return (function)device_function;
  }
  function found = replaced(name);
  return found ? found : of_instance(instance, name);
}

function vk_icdGetPhysicalDeviceProcAddr(void *instance, const char *name) {
  getter get = (getter)symbol("vk_icdGetPhysicalDeviceProcAddr");
  return get ? get(instance, name) : 0;
}

int32_t vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
  int32_t (*negotiate)(uint32_t *) = (int32_t(*)(uint32_t *))symbol("vk_icdNegotiateLoaderICDInterfaceVersion");
  return negotiate ? negotiate(version) : -3; /* VK_ERROR_INITIALIZATION_FAILED */
}
