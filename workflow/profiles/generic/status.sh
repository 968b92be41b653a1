# The state of a Slurm job; map another scheduler's words to the same three answers.
case "$(squeue --noheader --states=all --format=%T --jobs="$1")" in
	COMPLETED) echo success ;;
	BOOT_FAIL | CANCELLED | DEADLINE | FAILED | NODE_FAIL | OUT_OF_MEMORY | PREEMPTED | TIMEOUT) echo failed ;;
	*) echo running ;;
esac
