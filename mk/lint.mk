# Format, static checks and the rules of the layout.
LINT_SRC := $(COMMON_SRC) $(POLICY_SRC) $(RUNTIME_SRC) $(AGENT_SRC) $(CTL_SRC)
lint: fmt-check $(GEN)/filters.h $(SKELS) ## formatting, include direction, size budget, shellcheck, clang-tidy
	$(Q)mk/check-includes.sh
	$(Q)mk/check-sizes.sh
	$(Q)mk/gen-compat.sh --check
	$(Q)shellcheck $$(git ls-files '*.sh') .ci/run
	$(Q)mk/check-tidy.sh $(if $(FILES),$(FILES),$(LINT_SRC)) -- $(CPPFLAGS) -std=gnu17

fmt: ## format all C sources
	$(Q)git ls-files -co --exclude-standard '*.c' '*.h' | xargs clang-format -i
fmt-check:
	$(Q)git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
