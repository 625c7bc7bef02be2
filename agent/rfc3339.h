#pragma once
/* Timestamps as Kubernetes writes them. */
enum { RFC3339_SIZE = 40 };
void rfc3339_now(char ret[RFC3339_SIZE]);
