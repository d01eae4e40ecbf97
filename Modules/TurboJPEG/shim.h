#ifndef CONVNET_TURBOJPEG_SHIM_H
#define CONVNET_TURBOJPEG_SHIM_H
#include <turbojpeg.h>
#endif
