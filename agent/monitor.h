#pragma once
/*
 * `bermd --monitor BUNDLE`: one small process per container that outlives the agent. It runs the
 * runtime's create and start, is the subreaper that the container's process falls to, writes its
 * output as a CRI log, and leaves its exit status on disk. BUNDLE/monitor.json says what to do:
 * {"runtime":[PROGRAM,"--root",DIR...],"id":ID,"bundle":DIR,"log":FILE,"logMax":BYTES}
 */
#define MONITOR_FILE    "monitor.json"
#define MONITOR_PID     "monitor.pid"  /* {"pid":N,"start":TICKS}: who watches */
#define MONITOR_STARTED "started.json" /* {"pid":N,"startedAt":TIME}: it runs */
#define MONITOR_EXIT    "exit.json" /* {"exitCode":N,"startedAt":..,"finishedAt":..,"error":..} */

/* Descriptor on which the monitor writes one line once the container runs; the agent may be gone.
 */
enum { MONITOR_READY_FD = 3 };

int monitor_main(const char *bundle);
