/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * syscall(): asks whether the call concerns us, and jumps on with registers and stack as they came. That it jumps and
 * does not call matters for vfork() and clone(CLONE_VM), where the child returns first, on the same stack: a frame of
 * ours would be gone by the time the parent returns into it. C cannot promise a jump.
 *
 * bare_syscall(): the system call, as libc's syscall() does it.
 */

	.hidden	next
	.hidden	syscall_concerns_us
	.hidden	syscall_forward
	.hidden	bare_error

#if defined(__x86_64__)

/* number rdi, arguments rsi rdx rcx r8 r9 and the sixth at 8(%rsp); syscall_forward() takes them in the same places. */
	.text
	.globl	syscall
	.type	syscall, @function
	.p2align 4
syscall:
	.cfi_startproc
	endbr64
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	%r8
	pushq	%r9
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 56
	call	syscall_concerns_us
	addq	$8, %rsp
	popq	%r9
	popq	%r8
	popq	%rcx
	popq	%rdx
	popq	%rsi
	popq	%rdi
	.cfi_adjust_cfa_offset -56
	testb	%al, %al
	jnz	syscall_forward
	jmp	*next(%rip)
	.cfi_endproc
	.size	syscall, . - syscall

	.globl	bare_syscall
	.hidden	bare_syscall
	.type	bare_syscall, @function
	.p2align 4
bare_syscall:
	.cfi_startproc
	endbr64
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	movq	8(%rsp), %r9
	syscall
	cmpq	$-4095, %rax
	jae	1f
	ret
1:	movq	%rax, %rdi
	jmp	bare_error
	.cfi_endproc
	.size	bare_syscall, . - bare_syscall

#elif defined(__aarch64__)

/* number x0, arguments x1 to x6; syscall_forward() takes them in the same places. */
	.text
	.globl	syscall
	.type	syscall, %function
	.p2align 4
syscall:
	.cfi_startproc
	hint	#34	/* bti c */
	stp	x29, x30, [sp, #-80]!
	.cfi_def_cfa_offset 80
	.cfi_offset 29, -80
	.cfi_offset 30, -72
	stp	x0, x1, [sp, #16]
	stp	x2, x3, [sp, #32]
	stp	x4, x5, [sp, #48]
	str	x6, [sp, #64]
	mov	x29, sp
	bl	syscall_concerns_us
	mov	w16, w0
	ldp	x0, x1, [sp, #16]
	ldp	x2, x3, [sp, #32]
	ldp	x4, x5, [sp, #48]
	ldr	x6, [sp, #64]
	ldp	x29, x30, [sp], #80
	.cfi_restore 29
	.cfi_restore 30
	.cfi_def_cfa_offset 0
	tst	w16, #0xff
	b.eq	1f
	b	syscall_forward
1:	adrp	x16, next
	ldr	x16, [x16, #:lo12:next]
	br	x16
	.cfi_endproc
	.size	syscall, . - syscall

	.globl	bare_syscall
	.hidden	bare_syscall
	.type	bare_syscall, %function
	.p2align 4
bare_syscall:
	.cfi_startproc
	hint	#34	/* bti c */
	mov	x8, x0
	mov	x0, x1
	mov	x1, x2
	mov	x2, x3
	mov	x3, x4
	mov	x4, x5
	mov	x5, x6
	svc	#0
	cmn	x0, #4095
	b.hs	1f
	ret
1:	b	bare_error
	.cfi_endproc
	.size	bare_syscall, . - bare_syscall

#else
#error "pagefuse needs its syscall() for this architecture"
#endif

	.section .note.GNU-stack, "", %progbits
