# find_package(clopos_auth) gives
#
#   clopos_auth::clopos_auth          the shared library
#   clopos_auth::clopos_auth_static   the static one, with the system's libraries that it needs
#   clopos_auth::static               the same, by its name before 1.1
#
# whichever of them is installed. Lies in PREFIX/share/clopos_auth/cmake and finds everything from there.

get_filename_component(_clopos_auth_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
set(_clopos_auth_places ${_clopos_auth_prefix}/lib ${_clopos_auth_prefix}/lib64)
if(CMAKE_LIBRARY_ARCHITECTURE)
  list(APPEND _clopos_auth_places ${_clopos_auth_prefix}/lib/${CMAKE_LIBRARY_ARCHITECTURE})
endif()
set(_clopos_auth_include ${_clopos_auth_prefix}/include)

if(WIN32)
  # clopos_auth.dll.lib is cargo-c's.
  set(_clopos_auth_names libclopos_auth.dll.a)
  if(MSVC)
    set(_clopos_auth_names clopos_auth.lib clopos_auth.dll.lib)
  endif()
  find_library(_clopos_auth_import NAMES ${_clopos_auth_names}
    PATHS ${_clopos_auth_places} NO_DEFAULT_PATH NO_CACHE)
  find_file(_clopos_auth_shared NAMES clopos_auth.dll
    PATHS ${_clopos_auth_prefix}/bin ${_clopos_auth_places} NO_DEFAULT_PATH NO_CACHE)
else()
  find_library(_clopos_auth_shared NAMES libclopos_auth.so libclopos_auth.dylib
    PATHS ${_clopos_auth_places} NO_DEFAULT_PATH NO_CACHE)
endif()
find_library(_clopos_auth_static NAMES libclopos_auth.a
  PATHS ${_clopos_auth_places} NO_DEFAULT_PATH NO_CACHE)

if(_clopos_auth_shared AND NOT TARGET clopos_auth::clopos_auth)
  add_library(clopos_auth::clopos_auth SHARED IMPORTED ${_clopos_auth_scope})
  set_target_properties(clopos_auth::clopos_auth PROPERTIES
    IMPORTED_LOCATION ${_clopos_auth_shared}
    INTERFACE_INCLUDE_DIRECTORIES ${_clopos_auth_include})
  if(WIN32)
    set_target_properties(clopos_auth::clopos_auth PROPERTIES IMPORTED_IMPLIB ${_clopos_auth_import})
  else()
    # The name that programs ask the loader for.
    file(STRINGS ${_clopos_auth_include}/clopos_auth.h _clopos_auth_version
      REGEX "^#define CLOPOS_AUTH_VERSION \"")
    string(REGEX REPLACE ".*\"([0-9]+)\\..*" "\\1" _clopos_auth_major "${_clopos_auth_version}")
    set_target_properties(clopos_auth::clopos_auth PROPERTIES
      IMPORTED_SONAME libclopos_auth.so.${_clopos_auth_major})
  endif()
endif()

if(_clopos_auth_static AND NOT TARGET clopos_auth::static)
  add_library(clopos_auth::static STATIC IMPORTED ${_clopos_auth_scope})
  set_target_properties(clopos_auth::static PROPERTIES
    IMPORTED_LOCATION ${_clopos_auth_static}
    INTERFACE_INCLUDE_DIRECTORIES ${_clopos_auth_include})
  if(WIN32)
    set_target_properties(clopos_auth::static PROPERTIES
      INTERFACE_LINK_LIBRARIES "kernel32;ntdll;userenv;ws2_32;advapi32;crypt32;bcrypt")
  elseif(ANDROID)
    set_target_properties(clopos_auth::static PROPERTIES INTERFACE_LINK_LIBRARIES dl)
  elseif(NOT APPLE)
    set_target_properties(clopos_auth::static PROPERTIES INTERFACE_LINK_LIBRARIES "pthread;m;dl")
  endif()
endif()

if(TARGET clopos_auth::static AND NOT TARGET clopos_auth::clopos_auth_static)
  add_library(clopos_auth::clopos_auth_static INTERFACE IMPORTED ${_clopos_auth_scope})
  set_target_properties(clopos_auth::clopos_auth_static PROPERTIES
    INTERFACE_LINK_LIBRARIES clopos_auth::static)
endif()

if(NOT TARGET clopos_auth::clopos_auth AND NOT TARGET clopos_auth::static)
  set(clopos_auth_FOUND FALSE)
  set(clopos_auth_NOT_FOUND_MESSAGE
    "the library is missing: neither the shared nor the static libclopos_auth is in ${_clopos_auth_places}")
endif()

unset(_clopos_auth_prefix)
unset(_clopos_auth_places)
unset(_clopos_auth_include)
unset(_clopos_auth_import)
unset(_clopos_auth_names)
unset(_clopos_auth_shared)
unset(_clopos_auth_static)
unset(_clopos_auth_version)
unset(_clopos_auth_major)
