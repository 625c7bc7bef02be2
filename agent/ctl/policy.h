#pragma once
/*
 * bermctl policy test [--expect] FILE
 * bermctl policy explain --file FILE POD PEER PORT[/PROTOCOL]
 * bermctl policy explain --file FILE SRC DST PROTOCOL PORT [FAMILY]
 * Both judge without a kernel and without an agent. argv[0] is "policy". Exit status: 0, 1 if
 * --expect found differences (or explain says deny), 2 for usage and unreadable input.
 */
int ctl_policy_main(int argc, char **argv);
