#pragma once
/*
 * From Services to what enforcement leaves to be judged behind the node's translation. Nothing is
 * written before the first full view: what an earlier process wrote stays in force until then.
 */
struct agent;

void frontends_start(struct agent *a); /* the first full view is complete */
