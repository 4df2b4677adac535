# The version is the header's. A program that asks for 1.2 takes every later 1.x.

file(STRINGS ${CMAKE_CURRENT_LIST_DIR}/../../../include/clopos_auth.h _clopos_auth_line
  REGEX "^#define CLOPOS_AUTH_VERSION \"")
string(REGEX REPLACE ".*\"(.*)\".*" "\\1" PACKAGE_VERSION "${_clopos_auth_line}")
string(REGEX REPLACE "\\..*" "" _clopos_auth_major "${PACKAGE_VERSION}")

if(PACKAGE_FIND_VERSION VERSION_LESS_EQUAL PACKAGE_VERSION
    AND (NOT PACKAGE_FIND_VERSION OR PACKAGE_FIND_VERSION_MAJOR STREQUAL _clopos_auth_major))
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
else()
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
endif()
unset(_clopos_auth_line)
unset(_clopos_auth_major)
